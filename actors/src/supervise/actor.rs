//! One run of a part that is an actor: starts the actor, watches it, and kills it when the run is dropped.
//!
//! Must not know what the actor does. ractor reports why an actor failed only to a supervising actor, so each run
//! has one.

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

/// Receives the reason why one actor ended.
struct Observer;

/// Kills an actor and its observer.
struct KillOnDrop(Vec<ActorCell>);

impl Actor for Observer {
    type Msg = ();
    type State = Option<oneshot::Sender<String>>;
    type Arguments = oneshot::Sender<String>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        ended: oneshot::Sender<String>,
    ) -> Result<Option<oneshot::Sender<String>>, ActorProcessingErr> {
        Ok(Some(ended))
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        ended: &mut Option<oneshot::Sender<String>>,
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorFailed(_, why) => why.to_string(),
            SupervisionEvent::ActorTerminated(_, _, why) => why.unwrap_or_else(|| "it stopped".to_owned()),
            _ => return Ok(()),
        };
        // The receiver is gone when the run was dropped.
        ended.take().map(|ended| ended.send(why));
        Ok(())
    }
}

/// Runs `actor` until it ends, which is a failure; `started` is called once it runs. Drop the future to kill the actor.
///
/// # Errors
/// Why it could not start, or how it ended.
pub async fn live<A: Actor>(
    actor: A,
    arguments: A::Arguments,
    started: impl FnOnce(ActorRef<A::Msg>) + Send,
) -> Result<(), String> {
    let (ended, end) = oneshot::channel();
    let (observer, _) = Actor::spawn(None, Observer, ended).await.map_err(|why| why.to_string())?;
    let mut actors = KillOnDrop(vec![observer.get_cell()]);
    let child = Actor::spawn_linked(None, actor, arguments, observer.get_cell()).await;
    let (child, _) = child.map_err(|why| why.to_string())?;
    actors.0.insert(0, child.get_cell());
    started(child);
    Err(end.await.unwrap_or_else(|_| "it was killed".to_owned()))
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(ActorCell::kill);
    }
}
