//! What the running generation was told, where that is still what the files say.

use crate::model::{
    files::Loading, process::ProcessId, scoreboard::Global, settings::ServerSettings,
};

/// Settings that the parent has read: those that nobody changed after it last did.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadedSettings {
    of: Option<ProcessId>,
    settings: Option<ServerSettings>,
}

impl LoadedSettings {
    /// Takes what the files say. What changed after they were read last says nothing of what runs, so
    /// that what was known before stays.
    pub(super) fn observe(
        &mut self,
        parent: ProcessId,
        loading: Loading,
        told: Option<&ServerSettings>,
    ) {
        if self.of != Some(parent) {
            *self = Self { of: Some(parent), settings: None };
        }
        let read = loading.began.wall;
        let told = told.filter(|told| told.changed.is_some_and(|changed| changed <= read));
        if let Some(told) = told.filter(|told| self.settings.as_ref() != Some(told)) {
            self.settings = Some(told.clone());
        }
    }

    /// What the parent has read; `None` where that is not known.
    pub(super) const fn settings(&self) -> Option<&ServerSettings> {
        self.settings.as_ref()
    }

    /// Workers that one generation may have at most; `None` where that is not known.
    pub(super) fn workers_limit(&self, global: &Global) -> Option<u64> {
        let settings = self.settings.as_ref().filter(|settings| !settings.is_partial)?;
        Some(settings.corrected(global.server_limit, global.thread_limit).workers)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{
            settings::{Mpm, ServerSettings},
            time::Timestamp,
        },
        track::fixture::{Story, after},
    };

    fn told(changed: u64, workers: u32) -> ServerSettings {
        ServerSettings {
            mpm: Some(Mpm::Event),
            max_request_workers: Some(workers),
            threads_per_child: Some(1),
            changed: Some(after(changed).wall),
            ..ServerSettings::default()
        }
    }

    fn limit(story: &Story) -> u64 {
        story.tracker.assessment().board.as_ref().unwrap().workers_limit
    }

    #[test]
    fn the_limit_is_what_httpd_was_told_last() {
        let mut story = Story::of_a_running_httpd();
        let all_slots = limit(&story);
        assert!(all_slots > 2);
        story.resources.settings = Some(told(3, 2));
        story.look(3000);
        assert_eq!(limit(&story), 2);
        story.resources.settings = Some(told(4000, 1));
        story.look(4500);
        assert_eq!(limit(&story), 2, "changed, and not read yet");
        story.generation = 1;
        story.reads_configuration(4600, 4700);
        story.look(4800);
        assert_eq!(limit(&story), 1);
        story.resources.settings = None;
        story.look(4900);
        assert_eq!(limit(&story), 1, "httpd is what it was");
        story.resources.settings = Some(ServerSettings { is_partial: true, ..told(4, 1) });
        story.look(5000);
        assert_eq!(limit(&story), all_slots);
    }

    #[test]
    fn what_changed_at_an_unknown_time_says_nothing() {
        let mut story = Story::of_a_running_httpd();
        let all_slots = limit(&story);
        for changed in [None, Some(Timestamp::from_micros(i64::MAX))] {
            story.resources.settings = Some(ServerSettings { changed, ..told(3, 2) });
            story.look(3000);
            assert_eq!(limit(&story), all_slots);
        }
    }
}
