//! Who may read the debug pages: they tell what was asked and where it went.
//!
//! Must not know what is on them. Whoever asks from this machine (in a pod: by `kubectl exec` or `port-forward`) may, unless
//! nobody may; others need to be let in by flag, or to know the token.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::middleware::Next;
use ring::digest::{SHA256, digest};

use super::pages::error;
use super::pages_server::Caller;

/// The longest token, in bytes.
const TOKEN_MAX: usize = 4_096;

/// Who may read the debug pages without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugPages {
    /// Whoever asks from this machine.
    #[default]
    Local,
    /// Everybody who reaches the port.
    Anyone,
    /// Nobody, the holder of the token neither.
    Nobody,
}

/// The rule for debug pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugAccess {
    /// Who may without a token.
    pub pages: DebugPages,
    /// A file with the token that lets others in; read for each question, so that it can be changed.
    pub token_file: Option<PathBuf>,
}

/// Answers 403, or 401 where a token would help, instead of `next` for whoever may not.
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
    let cure = "the debug pages are for this machine only; ask from there (kubectl exec or port-forward)";
    match access.token_file {
        Some(_) => error(StatusCode::UNAUTHORIZED, &format!("{cure}, or send the token (--debug-token-file)")),
        None => error(
            StatusCode::FORBIDDEN,
            &format!("{cure}, or start the replica with --debug-token-file FILE or --debug-pages=anyone"),
        ),
    }
}

// === impl DebugAccess ===

impl DebugAccess {
    /// Whether `caller` may, who showed `shown` as authorization.
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
        // Digests are compared, so that the time it takes tells nothing of the token.
        (1..=TOKEN_MAX).contains(&token.len()) && digest(&SHA256, token).as_ref() == digest(&SHA256, shown).as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HERE: Caller = Caller { is_local: true };
    const ELSEWHERE: Caller = Caller { is_local: false };

    #[tokio::test]
    async fn who_is_elsewhere_needs_the_flag_or_the_token() {
        let file = std::env::temp_dir().join(format!("murmuration-debug-token-{}", std::process::id()));
        let rule = |pages, token: bool| DebugAccess { pages, token_file: token.then(|| file.clone()) };
        let shown = |token: &str| Some(format!("Bearer {token}").into_bytes());
        std::fs::write(&file, "secret\n").unwrap();
        for (pages, here, elsewhere) in
            [(DebugPages::Local, true, false), (DebugPages::Anyone, true, true), (DebugPages::Nobody, false, false)]
        {
            assert_eq!(rule(pages, false).admits(HERE, None).await, here, "{pages:?}");
            assert_eq!(rule(pages, false).admits(ELSEWHERE, shown("secret")).await, elsewhere, "{pages:?}");
        }
        let local = rule(DebugPages::Local, true);
        assert!(local.admits(ELSEWHERE, shown("secret")).await);
        for wrong in [None, shown(""), shown("secre"), shown("secret2"), Some(b"secret".to_vec())] {
            assert!(!local.admits(ELSEWHERE, wrong.clone()).await, "{wrong:?}");
        }
        std::fs::write(&file, "changed").unwrap();
        assert!(!local.admits(ELSEWHERE, shown("secret")).await && local.admits(ELSEWHERE, shown("changed")).await);
        std::fs::write(&file, "\n").unwrap();
        assert!(!local.admits(ELSEWHERE, shown("")).await, "an empty token opens nothing");
        std::fs::remove_file(&file).unwrap();
        assert!(!local.admits(ELSEWHERE, shown("changed")).await);
    }
}
