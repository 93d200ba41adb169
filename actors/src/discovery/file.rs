//! `file-discovery`: reads the endpoints file once a second and announces changes.
//!
//! Must not know how announcements are used. The content is compared, not the file's time, so a ConfigMap's symlink
//! swap is noticed too.

use std::sync::Arc;
use std::time::Duration;

use murmuration::config::endpoints_file::{self, EndpointsFile};
use murmuration::event::Event;
use murmuration::fleet::Endpoint;
use murmuration::id::EndpointId;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::resolve::resolve;
use crate::environment::Announcement;
use crate::telemetry::Telemetry;

/// How often the file is read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Reads between two resolutions of host names whose file did not change.
const RESOLVE_EVERY: u32 = 10;
/// The largest endpoints file; 4,096 endpoints with labels take about 2 MB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The actor.
#[derive(Debug)]
pub struct FileDiscoveryActor;

/// The arguments of the actor.
#[derive(Clone, Debug)]
pub struct FileDiscoveryArguments {
    /// The endpoints file.
    pub path: String,
    /// Whether changes are followed.
    pub watch: bool,
    /// Takes each announcement. The last one stays in force until the next.
    pub announced: Arc<watch::Sender<Option<Arc<Announcement>>>>,
    /// Records failures.
    pub telemetry: Telemetry,
}

/// The only message. The actor sends it to itself.
#[derive(Debug)]
pub enum DiscoveryMessage {
    /// Read the file.
    Poll,
}

/// The state.
#[derive(Debug)]
pub struct Seen {
    arguments: FileDiscoveryArguments,
    text: Option<String>,
    file: EndpointsFile,
    error: Option<String>,
    polls: u32,
}

impl Actor for FileDiscoveryActor {
    type Msg = DiscoveryMessage;
    type State = Seen;
    type Arguments = FileDiscoveryArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<DiscoveryMessage>,
        arguments: FileDiscoveryArguments,
    ) -> Result<Seen, ActorProcessingErr> {
        myself.cast(DiscoveryMessage::Poll)?;
        let file = EndpointsFile::default();
        Ok(Seen { arguments, text: None, file, error: None, polls: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<DiscoveryMessage>,
        _: DiscoveryMessage,
        seen: &mut Seen,
    ) -> Result<(), ActorProcessingErr> {
        seen.poll().await;
        if seen.arguments.watch || seen.text.is_none() {
            myself.send_after(POLL_INTERVAL, || DiscoveryMessage::Poll);
        }
        Ok(())
    }
}

// === impl Seen ===

impl Seen {
    async fn poll(&mut self) {
        self.polls = self.polls.wrapping_add(1);
        let text = match read_bounded(&self.arguments.path).await {
            Ok(text) => text,
            Err(why) => return self.report_failure(why),
        };
        let changed = self.text.as_ref() != Some(&text);
        if changed {
            match endpoints_file::read(&text, &self.arguments.path) {
                Ok(file) => self.file = file,
                Err(errors) => return self.report_failure(errors.to_string()),
            }
        }
        if changed || self.polls.is_multiple_of(RESOLVE_EVERY) {
            self.announce().await;
        }
        self.text = Some(text);
        self.error = None;
    }

    async fn announce(&mut self) {
        let known = self.arguments.announced.borrow().clone();
        let mut endpoints = Vec::new();
        for entry in &self.file.endpoints {
            let id = EndpointId::new(&entry.namespace, &entry.name);
            match resolve(&entry.host, entry.port).await {
                Ok(address) => endpoints.push(Endpoint { id, address, labels: entry.labels.clone() }),
                Err(why) => {
                    let mut known = known.iter().flat_map(|known| &known.endpoints);
                    endpoints.extend(known.find(|endpoint: &&Endpoint| endpoint.id == id).cloned());
                    self.arguments.telemetry.record(&Event::EndpointRefused { endpoint: id.to_string(), why });
                }
            }
        }
        endpoints.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let count = endpoints.len();
        let objectives = self.file.objectives.clone();
        let announcement = Announcement { endpoints, objectives, ..Announcement::default() }.canonical();
        if known.as_deref() == Some(&announcement) {
            return;
        }
        self.arguments.announced.send_replace(Some(Arc::new(announcement)));
        self.arguments.telemetry.record(&Event::Reloaded(format!("{count} endpoints from {}", self.arguments.path)));
    }

    /// Records a failure once, not each second.
    fn report_failure(&mut self, why: String) {
        if self.error.as_ref() != Some(&why) {
            self.arguments.telemetry.record(&Event::ReloadFailed(why.clone()));
            self.error = Some(why);
        }
    }
}

/// The file's text.
async fn read_bounded(path: &str) -> Result<String, String> {
    let size = tokio::fs::metadata(path).await.map_err(|error| format!("can't read {path}: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{path} has {size} bytes; an endpoints file may have {FILE_BYTES_MAX}"));
    }
    tokio::fs::read_to_string(path).await.map_err(|error| format!("can't read {path}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telemetry::span::Tracer;

    const FILE: &str =
        "objectives:\n- {name: batch, priority: -1}\nendpoints:\n- {name: a, address: 10.0.0.1, port: 8000}\n";

    #[tokio::test]
    async fn a_reload_is_recorded_only_when_endpoints_or_objectives_changed() {
        let path = std::env::temp_dir().join(format!("murmuration-discovery-{}.yaml", std::process::id()));
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let observed = events.clone();
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let telemetry =
            telemetry.with_observer(Arc::new(move |event: &Event| observed.lock().unwrap().push(event.clone())));
        let (announced, known) = watch::channel(None);
        let path_text = path.display().to_string();
        let arguments =
            FileDiscoveryArguments { path: path_text, watch: true, announced: Arc::new(announced), telemetry };
        let file = EndpointsFile::default();
        let mut seen = Seen { arguments, text: None, file, error: None, polls: 0 };
        let mut reloads = async |text: &str| {
            std::fs::write(&path, text).unwrap();
            for _ in 0..3 * RESOLVE_EVERY {
                seen.poll().await;
            }
            events.lock().unwrap().iter().filter(|event| matches!(event, Event::Reloaded(_))).count()
        };
        assert_eq!(reloads(FILE).await, 1, "names are resolved again, and nothing changed");
        assert_eq!(reloads(&format!("# a comment\n{FILE}")).await, 1);
        assert_eq!(reloads(&FILE.replace("-1", "-2")).await, 2);
        assert_eq!(known.borrow().as_ref().unwrap().objectives["batch"], -2);
        assert_eq!(reloads(&FILE.replace("10.0.0.1", "10.0.0.2")).await, 3);
        std::fs::remove_file(path).unwrap();
    }
}
