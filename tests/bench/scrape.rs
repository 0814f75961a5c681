//! What a scrape takes, by the number of children.

use std::time::Instant;

use crate::crowd::Crowd;
use crate::distances::Distances;
use crate::report::Report;

const SCRAPES: usize = 500;
const BOUND: f64 = 1.5;

/// In turns, so that whatever else the machine does hits both.
pub(crate) fn measure(few: &Crowd, many: &Crowd, report: &mut Report) {
    let mut times = [Distances::default(), Distances::default()];
    for _ in 0..SCRAPES {
        for (crowd, times) in [few, many].into_iter().zip(&mut times) {
            let begin = Instant::now();
            let response = crowd.gracekeeper.get("/metrics");
            times.add(begin.elapsed().as_secs_f64());
            assert_eq!(response.status, 200);
        }
    }
    println!(
        "\nScrape: milliseconds of GET /metrics, each on a connection of its own, {SCRAPES} each"
    );
    println!("{:>8} {:>8} {:>8} {:>8} {:>8}", "children", "series", "median", "p95", "max");
    let all = [few, many].map(|crowd| (crowd.children, series(crowd)));
    for ((children, series), times) in all.iter().zip(&times) {
        println!("{children:>8} {series:>8} {times}");
    }
    let ratio = times[1].median() / times[0].median();
    let [(few, series_of_few), (many, series_of_many)] = all;
    report.judge(
        &format!("a scrape with {many} children takes at most {BOUND} of one with {few}"),
        format!("{ratio:.2}"),
        ratio <= BOUND,
    );
    report.judge(
        "the number of series does not depend on the children",
        format!("{series_of_few} and {series_of_many}"),
        series_of_few == series_of_many,
    );
}

fn series(crowd: &Crowd) -> usize {
    let body = crowd.gracekeeper.get("/metrics").body;
    body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}
