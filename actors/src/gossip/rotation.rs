//! Follows the key file, so that keys are replaced without a restart.
//!
//! Must not know how keys seal. The content is compared, not the file's time: a mounted secret changes by a swap of
//! links.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::envelope::Envelope;
use super::keyring::{KeyError, Keyring};
use crate::replication::Receiver;

/// How often the file is read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Most bytes of a key file; two keys take 90.
const FILE_BYTES_MAX: u64 = 4_096;

/// Reads the text of the key file.
pub(super) async fn read(path: &Path) -> Result<String, KeyError> {
    let failed = |error: std::io::Error| KeyError::Read { path: path.display().to_string(), why: error.to_string() };
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(failed)?;
    Ok(text)
}

/// Follows the file at `path`, whose text was `known`, for ever. Keys that can't be read are reported once, and those
/// in force stay.
pub(super) async fn follow(path: PathBuf, mut known: String, envelope: Arc<Envelope>, receiver: Receiver) {
    let mut reported = None;
    loop {
        sleep(POLL_INTERVAL).await;
        let text = read(&path).await;
        if text.as_ref() == Ok(&known) {
            reported = None;
            continue;
        }
        match text.and_then(|text| Ok((Keyring::parse(&text)?, text))) {
            Ok((keyring, text)) => {
                envelope.replace(keyring);
                (known, reported) = (text, None);
                receiver.emit(&Event::Reloaded(format!("the gossip keys in {}", path.display())));
            }
            Err(error) if reported.as_ref() == Some(&error) => {}
            Err(error) => {
                receiver.emit(&Event::ReloadFailed(error.to_string()));
                reported = Some(error);
            }
        }
    }
}
