//! Sensors of temperature.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{PACE, Paced, content};
use crate::{clock, model::time::Moment};

/// Sensors come and go with modules and devices.
const LIST_PACE: Duration = Duration::from_secs(60);
/// More than any board has; a switch with its transceivers has some hundred.
const MOST: usize = 256;
/// Some take milliseconds to answer, and a look waits for them: the rest has its turn a second
/// later.
const BUDGET: Duration = Duration::from_millis(10);

/// The sensors of this host.
#[derive(Debug)]
pub(super) struct Sensors {
    /// Whose turn it is first.
    found: Paced<VecDeque<Sensor>>,
    round: Paced<()>,
}

#[derive(Debug)]
struct Sensor {
    file: PathBuf,
    /// What it told last.
    told: Option<i64>,
}

impl Sensors {
    /// Not yet looked for.
    pub(super) const fn new() -> Self {
        Self { found: Paced::new(), round: Paced::new() }
    }

    /// The hottest of all, in thousandths of a degree Celsius; `None` where there is none.
    pub(super) fn hottest(&mut self, at: Moment, sysfs: &Path) -> Option<i64> {
        let sensors = self.found.get(at, LIST_PACE, || list(sysfs));
        self.round.get(at, PACE, || {
            let end = clock::now().after(BUDGET);
            read(sensors, || clock::now() >= end);
        });
        sensors.iter().filter_map(|sensor| sensor.told).max()
    }
}

/// Reads one after the other until it is over.
fn read(sensors: &mut VecDeque<Sensor>, mut is_over: impl FnMut() -> bool) {
    for _ in 0..sensors.len() {
        if let Some(sensor) = sensors.front_mut() {
            sensor.told = temperature(&sensor.file);
        }
        sensors.rotate_left(1);
        if is_over() {
            break;
        }
    }
}

fn list(sysfs: &Path) -> VecDeque<Sensor> {
    let zones = entries(&sysfs.join("class/thermal")).map(|zone| zone.join("temp"));
    let chips = entries(&sysfs.join("class/hwmon"));
    // `temp2_input`; its limits are beside it, `temp2_crit`.
    let inputs = chips.flat_map(|chip| entries(&chip)).filter(|file| {
        let name = file.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("temp") && name.ends_with("_input"))
    });
    zones.chain(inputs).take(MOST).map(|file| Sensor { file, told: None }).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn temperature(file: &Path) -> Option<i64> {
    let content = content(file).ok()?;
    std::str::from_utf8(&content).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_sensors_take_turns() {
        let root = tempfile::tempdir().unwrap();
        let sensors = (0..5).map(|number| {
            let file = root.path().join(number.to_string());
            fs::write(&file, format!("{number}\n")).unwrap();
            Sensor { file, told: None }
        });
        let mut sensors: VecDeque<Sensor> = sensors.collect();
        let mut turn = |reads: u32| {
            let mut left = reads;
            read(&mut sensors, || {
                left -= 1;
                left == 0
            });
            let told: Vec<i64> = sensors.iter().filter_map(|sensor| sensor.told).collect();
            (told.len(), told.into_iter().max())
        };
        assert_eq!(turn(2), (2, Some(1)));
        assert_eq!(turn(2), (4, Some(3)));
        assert_eq!(turn(9), (5, Some(4)), "each once");
    }
}
