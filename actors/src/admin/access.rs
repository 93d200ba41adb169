//! Access to the debug pages, which show requests and where they went.
//!
//! Must not know what is on the pages. Callers on this machine (in a pod: by `kubectl exec` or `port-forward`) may read
//! them, unless the pages are closed. Other callers need the flag or the token.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::middleware::Next;
use ring::digest::{SHA256, digest};

use super::answer::error;
use super::pages_server::Caller;

/// The longest token, in bytes.
const TOKEN_MAX: usize = 4_096;

/// Who may read the debug pages without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugPages {
    /// Callers on this machine.
    #[default]
    Local,
    /// Everybody who can reach the port.
    Anyone,
    /// Nobody, not even with the token.
    Nobody,
}

/// The rule for debug pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugAccess {
    /// Who may read them without a token.
    pub pages: DebugPages,
    /// A file with the token that admits other callers; read for each request, so that it can be changed.
    pub token_file: Option<PathBuf>,
}

/// Runs `next` for callers that are admitted. Others get 403, or 401 where a token would help.
pub(super) async fn guard(
    State(access): State<DebugAccess>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let shown = request.headers().get(header::AUTHORIZATION).map(|shown| shown.as_bytes().to_vec());
    if access.admits(caller, shown).await {
        return next.run(request).await;
    }
    if access.pages == DebugPages::Nobody {
        return error(StatusCode::FORBIDDEN, "the debug pages are closed by --debug-pages=nobody");
    }
    let fix = "the debug pages are for this machine only; ask from there (kubectl exec or port-forward)";
    match access.token_file {
        Some(_) => error(StatusCode::UNAUTHORIZED, &format!("{fix}, or send the token (--debug-token-file)")),
        None => error(
            StatusCode::FORBIDDEN,
            &format!("{fix}, or start the replica with --debug-token-file FILE or --debug-pages=anyone"),
        ),
    }
}

// === impl DebugAccess ===

impl DebugAccess {
    /// Whether `caller` is admitted, with `shown` as its authorization header.
    async fn admits(&self, caller: Caller, shown: Option<Vec<u8>>) -> bool {
        match self.pages {
            DebugPages::Nobody => false,
            DebugPages::Anyone => true,
            DebugPages::Local => caller.is_local || self.is_token(shown).await,
        }
    }

    async fn is_token(&self, shown: Option<Vec<u8>>) -> bool {
        let (Some(file), Some(shown)) = (&self.token_file, shown) else { return false };
        let Some(shown) = shown.strip_prefix(b"Bearer ") else { return false };
        let Ok(token) = tokio::fs::read(file).await else { return false };
        let token = token.trim_ascii();
        // Digests are compared, so that the time of the comparison reveals nothing of the token.
        (1..=TOKEN_MAX).contains(&token.len()) && digest(&SHA256, token).as_ref() == digest(&SHA256, shown).as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LOCAL: Caller = Caller { is_local: true };
    const REMOTE: Caller = Caller { is_local: false };

    #[tokio::test]
    async fn a_remote_caller_needs_the_flag_or_the_token() {
        let file = std::env::temp_dir().join(format!("murmuration-debug-token-{}", std::process::id()));
        let rule = |pages, token: bool| DebugAccess { pages, token_file: token.then(|| file.clone()) };
        let shown = |token: &str| Some(format!("Bearer {token}").into_bytes());
        std::fs::write(&file, "secret\n").unwrap();
        for (pages, local, remote) in
            [(DebugPages::Local, true, false), (DebugPages::Anyone, true, true), (DebugPages::Nobody, false, false)]
        {
            assert_eq!(rule(pages, false).admits(LOCAL, None).await, local, "{pages:?}");
            assert_eq!(rule(pages, false).admits(REMOTE, shown("secret")).await, remote, "{pages:?}");
        }
        let local = rule(DebugPages::Local, true);
        assert!(local.admits(REMOTE, shown("secret")).await);
        for wrong in [None, shown(""), shown("secre"), shown("secret2"), Some(b"secret".to_vec())] {
            assert!(!local.admits(REMOTE, wrong.clone()).await, "{wrong:?}");
        }
        std::fs::write(&file, "changed").unwrap();
        assert!(!local.admits(REMOTE, shown("secret")).await && local.admits(REMOTE, shown("changed")).await);
        std::fs::write(&file, "\n").unwrap();
        assert!(!local.admits(REMOTE, shown("")).await, "an empty token opens nothing");
        std::fs::remove_file(&file).unwrap();
        assert!(!local.admits(REMOTE, shown("changed")).await);
    }
}
