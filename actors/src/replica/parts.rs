//! The parts of a replica, each as its supervisor runs it: what one run consists of, and when its end is a failure.
//!
//! Must not know when parts are started.

use std::sync::Arc;
use std::time::Duration;

use murmuration::config::blueprint::FileDiscovery;
use ractor::ActorRef;
use tokio::sync::watch;
use tokio::time::sleep;

use super::serving_tls::Tls;
use crate::admin::{DebugAccess, HealthService, MetricsAccess, Pages, router, serve_health, serve_pages};
use crate::clock::Clock;
use crate::connection::EventSink;
use crate::discovery::{FileDiscoveryActor, FileDiscoveryArguments};
use crate::environment::{Announcement, Feed, Listener, SharedListener};
use crate::ext_proc::{Service, Settings, serve};
use crate::replication::ReplicationView;
use crate::scheduler::{Known, Message, SchedulerActor, SchedulerArguments, SchedulerHandle};
use crate::supervise::{Ended, Supervisor, live};
use crate::telemetry::Telemetry;
use crate::tls::ServerTls;

/// Two runs of a scheduler use different tickets: each run starts this much higher.
const TICKETS_PER_RUN: u64 = 1 << 40;

/// The latest announcement.
type Announced = Arc<watch::Sender<Option<Arc<Announcement>>>>;

/// What the ext-proc server needs.
pub(super) struct Gate {
    pub(super) scheduler: SchedulerHandle,
    pub(super) settings: Settings,
    pub(super) tls: Option<ServerTls>,
    pub(super) clock: Clock,
    pub(super) telemetry: Telemetry,
    pub(super) event_sink: EventSink,
    /// The current prompt salt.
    pub(super) salt: watch::Receiver<u128>,
    /// What discovery announces, for the rules of models.
    pub(super) announced: Known,
}

/// Starts the scheduler. A restarted one reads the current announcement. It gets the rest again: reports from the
/// watchers, facts of peers from the lanes. Open tickets of the former run are gone: their work is withdrawn from
/// peers, and updates for them are ignored.
pub(super) fn scheduler(
    supervisor: &Supervisor,
    mut arguments: SchedulerArguments,
    living: watch::Sender<Option<ActorRef<Message>>>,
) {
    let living = Arc::new(living);
    supervisor.vital("scheduler", move || {
        let (next, living) = (arguments.clone(), living.clone());
        arguments.first_ticket += TICKETS_PER_RUN;
        let started = move |actor: ActorRef<Message>| {
            living.send_replace(Some(actor.clone()));
            // Announcements and requests that arrived while no scheduler ran. Fails only if the actor has ended again,
            // which is reported elsewhere.
            drop(actor.cast(Message::Announced));
            drop(actor.cast(Message::FromStreams));
        };
        async move { live(SchedulerActor, next, started).await }
    });
}

pub(super) fn discovery(
    supervisor: &Supervisor,
    file: Option<FileDiscovery>,
    announced: Announced,
    telemetry: &Telemetry,
) {
    let Some(FileDiscovery { path, watch }) = file else { return };
    let arguments = FileDiscoveryArguments { path, watch, announced, telemetry: telemetry.clone() };
    supervisor.vital("discovery", move || {
        let arguments = arguments.clone();
        async move { live(FileDiscoveryActor, arguments, drop).await }
    });
}

/// Forwards the announcements of the environment, starting with the current one. Ends when the sender of the feed is
/// gone.
pub(super) fn feed(supervisor: &Supervisor, feed: Option<Feed>, announced: Announced) {
    let Some(feed) = feed else { return };
    supervisor.vital("feed", move || {
        let (mut feed, announced) = (feed.clone(), announced.clone());
        async move {
            loop {
                if let Some(announcement) = feed.borrow_and_update().clone() {
                    announced.send_replace(Some(Arc::new(announcement.canonical())));
                }
                if feed.changed().await.is_err() {
                    return Ok(());
                }
            }
        }
    });
}

pub(super) fn gauges(
    supervisor: &Supervisor,
    interval: Duration,
    scheduler: &SchedulerHandle,
    replication: Option<ReplicationView>,
    telemetry: &Telemetry,
) {
    let (scheduler, telemetry) = (scheduler.clone(), telemetry.clone());
    supervisor.vital("gauges", move || {
        let (scheduler, replication, telemetry) = (scheduler.clone(), replication.clone(), telemetry.clone());
        async move {
            loop {
                if let Some(summary) = scheduler.summary().await {
                    let members = replication.as_ref().map(ReplicationView::of_pool).unwrap_or_default();
                    telemetry.pool(&summary, &members);
                }
                sleep(interval).await;
            }
        }
    });
}

/// Reloads the certificate of ext-proc, where it is read from a folder.
pub(crate) fn certificates(supervisor: &Supervisor, tls: Tls, served: Option<ServerTls>, telemetry: &Telemetry) {
    let (Tls::Folder(folder), Some(served)) = (tls, served) else { return };
    let telemetry = telemetry.clone();
    supervisor.vital("certificates", move || {
        let (served, folder, telemetry) = (served.clone(), folder.clone(), telemetry.clone());
        async move {
            served.follow(folder, move |event| telemetry.record(&event)).await;
            Err("it ended".to_owned())
        }
    });
}

/// Serves ext-proc until `closed` is set and the open streams have ended.
pub(super) fn ext_proc(
    supervisor: &Supervisor,
    gate: Gate,
    listener: Listener,
    closed: watch::Receiver<bool>,
) -> Ended {
    let Gate { scheduler, settings, tls, clock, telemetry, event_sink, salt, announced } = gate;
    let service = Service::new(scheduler, (settings, announced), Arc::new(telemetry), Arc::new(move || clock.now()));
    let salted = service.clone();
    supervisor.vital("prompt-salt", move || {
        let (service, salt) = (salted.clone(), salt.clone());
        async move {
            service.follow_salt(salt).await;
            Ok(())
        }
    });
    let listener = SharedListener::new(listener);
    supervisor.vital("ext-proc", move || {
        let (listener, tls, service, event_sink) =
            (listener.listener(), tls.clone(), service.clone(), event_sink.clone());
        let closed = closed.clone();
        async move {
            let served = serve(listener, tls, service, event_sink, until(closed.clone())).await;
            served.map_err(|error| error.to_string())?;
            if *closed.borrow() { Ok(()) } else { Err("its socket takes no more connections".to_owned()) }
        }
    })
}

pub(super) fn health(supervisor: &Supervisor, listener: Listener, service: HealthService, event_sink: EventSink) {
    let listener = SharedListener::new(listener);
    supervisor.vital("health", move || {
        let (listener, service, event_sink) = (listener.listener(), service.clone(), event_sink.clone());
        async move {
            serve_health(listener, service, event_sink).await.map_err(|error| error.to_string())?;
            Err("its socket takes no more connections".to_owned())
        }
    });
}

pub(super) fn admin(
    supervisor: &Supervisor,
    (listener, access, scrapers): (Listener, DebugAccess, MetricsAccess),
    pages: Pages,
    event_sink: EventSink,
) {
    let listener = SharedListener::new(listener);
    supervisor.vital("admin", move || {
        let (listener, router, event_sink) =
            (listener.listener(), router(pages.clone(), access.clone(), scrapers.clone()), event_sink.clone());
        async move {
            serve_pages(listener, router, event_sink).await.map_err(|error| error.to_string())?;
            Err("its socket takes no more connections".to_owned())
        }
    });
}

/// Resolves when `closed` is set or its sender is gone.
async fn until(mut closed: watch::Receiver<bool>) {
    let _ = closed.wait_for(|closed| *closed).await;
}
