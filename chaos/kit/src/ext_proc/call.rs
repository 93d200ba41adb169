//! One ext-proc stream, for benches, storms and the simulation.
//!
//! Must not know deadlines: a caller that waits bounds the wait.

use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse};
use murmuration_proto::names;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Messages that may wait beyond those that a stream is opened with.
const ROOM: usize = 8;

/// An open stream. Dropping it cuts it.
#[derive(Debug)]
pub struct Call {
    outbound: Option<mpsc::Sender<ProcessingRequest>>,
    inbound: Streaming<ProcessingResponse>,
}

/// Where a request goes, or why it goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It goes to this destination, and this many bytes of its body came back.
    Sent {
        /// Addresses, the first one first.
        destination: String,
        /// Prefill engines for the destination, `host:port` with commas, the best first; `None` if there is no such leg.
        prefillers: Option<String>,
        /// Bytes of the body.
        bytes: usize,
    },
    /// It was refused with this status and code.
    Refused(u16, String),
}

/// Why a stream gave no valid reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The replica refused the stream.
    #[error("the stream was not opened: {0}")]
    NotOpened(Status),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Broken(Status),
    /// The replica ended the stream in order, but too early.
    #[error("the replica ended the stream in the middle")]
    Ended,
    /// The replica sent something else than what is due.
    #[error("an unexpected reply: {0:?}")]
    Unexpected(Box<ProcessingResponse>),
}

// === impl Call ===

impl Call {
    /// Opens a stream that begins with these messages.
    ///
    /// # Errors
    /// [`CallError::NotOpened`].
    pub async fn open(
        mut client: ExternalProcessorClient<Channel>,
        messages: Vec<ProcessingRequest>,
    ) -> Result<Self, CallError> {
        let (outbound, queued) = mpsc::channel(messages.len() + ROOM);
        // The channel has room for all messages, so no send fails.
        messages.into_iter().for_each(|message| drop(outbound.try_send(message)));
        let opened = client.process(ReceiverStream::new(queued)).await.map_err(CallError::NotOpened)?;
        Ok(Self { outbound: Some(outbound), inbound: opened.into_inner() })
    }

    /// Sends a message; `false` if the stream has closed.
    pub async fn send(&self, message: ProcessingRequest) -> bool {
        match &self.outbound {
            Some(outbound) => outbound.send(message).await.is_ok(),
            None => false,
        }
    }

    /// The next message; `None` once the replica has ended the stream in order.
    ///
    /// # Errors
    /// [`CallError::Broken`].
    pub async fn receive(&mut self) -> Result<Option<ProcessingResponse>, CallError> {
        self.inbound.message().await.map_err(CallError::Broken)
    }

    /// Reads the reply to a whole request: the destination and all pieces of the body, or a refusal.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn reply(&mut self) -> Result<Reply, CallError> {
        let first = self.receive().await?.ok_or(CallError::Ended)?;
        if let Some((status, code)) = super::refusal(&first) {
            return Ok(Reply::Refused(status, code.to_owned()));
        }
        let Some(destination) = super::destination(&first).map(str::to_owned) else {
            return Err(CallError::Unexpected(Box::new(first)));
        };
        let prefillers = super::set_header(&first, names::PREFILLER[0]).map(str::to_owned);
        let mut bytes = 0;
        loop {
            let next = self.receive().await?.ok_or(CallError::Ended)?;
            let Some(piece) = super::piece(&next) else { return Err(CallError::Unexpected(Box::new(next))) };
            bytes += piece.body.len();
            if piece.end_of_stream {
                return Ok(Reply::Sent { destination, prefillers, bytes });
            }
        }
    }

    /// Closes the sending side.
    pub fn close(&mut self) {
        self.outbound = None;
    }
}
