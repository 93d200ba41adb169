//! The API server: where it is, and a client for it.
//!
//! Must not know which objects are asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause of an answer. Watches end earlier by themselves.
const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// Where the API server is, and who this replica is to it.
#[derive(Clone, Debug)]
pub struct ApiServer(Arc<Config>);

/// Why the API server can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A kubeconfig can't be used.
    #[error("--kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// There is no kubeconfig, and this is no pod.
    #[error(
        "nothing says where the API server is: this is no pod with a ServiceAccount ({0}), and there is no kubeconfig; \
        name one with --kubeconfig"
    )]
    NoPod(#[source] kube::config::InClusterError),
    /// Its certificates or tokens can't be used.
    #[error("can't talk to the API server: {0}")]
    Client(#[from] kube::Error),
}

/// A kind of object: group, version, kind and plural.
pub(super) type Kind<'a> = (&'a str, &'a str, &'a str, &'a str);

// === impl ApiServer ===

impl ApiServer {
    /// The one that these kubeconfig files name together; without files, the one of the cluster that this pod runs in;
    /// outside of a pod, the one that the user's own kubeconfig names.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub async fn find(kubeconfig: &[PathBuf]) -> Result<Self, KubernetesError> {
        let mut files = kubeconfig.iter();
        let config = match files.next() {
            None => match Config::incluster() {
                Ok(config) => config,
                Err(no_pod) => {
                    let own = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
                    own.map_err(|_| KubernetesError::NoPod(no_pod))?
                }
            },
            Some(first) => {
                let merge = |all: Kubeconfig, file| Kubeconfig::read_from(file).and_then(|next| all.merge(next));
                let all = files.try_fold(Kubeconfig::read_from(first)?, merge)?;
                Config::from_custom_kubeconfig(all, &KubeConfigOptions::default()).await?
            }
        };
        Ok(Self::new(config))
    }

    /// The one at `url`, for a caller that it knows without a name, as in tests.
    pub fn at(url: http::Uri) -> Self {
        Self::new(Config::new(url))
    }

    /// The one of `config`.
    pub fn new(mut config: Config) -> Self {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        // Watches pace themselves.
        config.default_retry = false;
        Self(Arc::new(config))
    }

    /// A client. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`KubernetesError`].
    pub fn client(&self) -> Result<Client, KubernetesError> {
        Ok(Client::try_from(Config::clone(&self.0))?)
    }
}

/// Objects of `kind` in `namespace`, with whatever fields they have.
pub(super) fn named(client: &Client, namespace: &str, kind: Kind<'_>) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &of_kind(kind))
}

/// How the API server names `kind`.
pub(super) fn of_kind((group, version, kind, plural): Kind<'_>) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
