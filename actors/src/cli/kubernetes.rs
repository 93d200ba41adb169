//! Turns the Kubernetes flags into settings: which objects are watched, in which namespace.
//!
//! Must not know how they are watched.

use std::path::{Path, PathBuf};

use murmuration::dialect::kubernetes::pool_ref::PoolRef;

use crate::args::ServeArgs;
use crate::kubernetes::{ApiServer, KubernetesSettings, PeerPods, Source};

/// Where a pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The namespace where nothing names one.
const DEFAULT_NAMESPACE: &str = "default";
/// The name of a tier that has no other.
const DEFAULT_NAME: &str = "default";

/// Where the endpoints come from that the flags name; `None` where they name none.
pub(super) fn source(args: &ServeArgs) -> Option<Source> {
    let flags = &args.kubernetes;
    match (&flags.pool_name, &flags.endpoint_selector, &flags.endpoint_target_ports) {
        (_, Some(selector), Some(ports)) => {
            let (namespace, selector, ports) = (pool_namespace(args), selector.clone(), ports.0.clone());
            Some(Source::Selector { namespace, selector, ports })
        }
        (Some(name), ..) => Some(pool(args, name)),
        _ => None,
    }
}

/// The InferencePool called `name`, in the namespace and of the group that the flags name.
pub(super) fn pool(args: &ServeArgs, name: &str) -> Source {
    let pool = PoolRef { group: args.kubernetes.pool_group.clone(), name: name.to_owned() };
    Source::Pool { namespace: pool_namespace(args), pool }
}

/// The name of the pool for metrics, and of the tier. Without a name of its own it is that of the Deployment that this
/// pod belongs to, as in llm-d, where pods are selected by label.
pub(super) fn name(args: &ServeArgs) -> String {
    let flags = &args.kubernetes;
    let of_selector = || {
        let pod = args.replication.replica_name.as_deref().filter(|_| flags.endpoint_selector.is_some())?;
        deployment(pod).map(str::to_owned)
    };
    flags.pool_name.clone().or_else(of_selector).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

/// What is watched; `None` where nothing is. `source` is that of the first pool, and `any` says whether any pool is
/// watched.
///
/// # Errors
/// One sentence with the fix.
pub(super) async fn settings(
    args: &ServeArgs,
    source: Option<Source>,
    any: bool,
) -> Result<Option<KubernetesSettings>, String> {
    let peers = args.kubernetes.peer_selector.as_ref().map(|selector| PeerPods {
        namespace: namespace(args),
        selector: selector.clone(),
        port: args.replication.gossip_port,
        me: args.replication.replica_name.clone().unwrap_or_default(),
    });
    let asked = args.metrics_endpoint_auth == Some(true);
    if !any && peers.is_none() && !asked {
        return Ok(None);
    }
    let files = files(args.kubernetes.kubeconfig.as_deref());
    let sought = match (any, &peers) {
        (true, _) => "endpoints are looked for in the Kubernetes API",
        (false, Some(_)) => "peers are looked for in the Kubernetes API",
        (false, None) => "--metrics-endpoint-auth asks the Kubernetes API about callers",
    };
    let failed = |why| format!("{sought}, and {why}");
    let api = ApiServer::find(&files).await.map_err(failed)?;
    Ok(Some(KubernetesSettings { api, source, peers }))
}

/// The files that `--kubeconfig` names.
pub(super) fn files(kubeconfig: Option<&Path>) -> Vec<PathBuf> {
    let files = kubeconfig.into_iter().flat_map(std::env::split_paths);
    files.filter(|file| !file.as_os_str().is_empty()).collect()
}

fn pool_namespace(args: &ServeArgs) -> String {
    args.kubernetes.pool_namespace.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| namespace(args))
}

fn namespace(args: &ServeArgs) -> String {
    own_namespace(args.kubernetes.namespace.as_deref())
}

/// The namespace of this pod: `named`, that of its ServiceAccount, or `default`.
pub(super) fn own_namespace(named: Option<&str>) -> String {
    let of_pod = || std::fs::read_to_string(NAMESPACE_FILE).map(|text| text.trim().to_owned()).ok();
    let named = named.map(str::to_owned).filter(|name| !name.is_empty());
    named.or_else(of_pod).filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// The name of the Deployment of a pod: without the hashes of its ReplicaSet and of itself.
fn deployment(pod: &str) -> Option<&str> {
    pod.rsplitn(3, '-').nth(2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, Verb};

    fn args(flags: &str) -> ServeArgs {
        let flags = format!("murmuration serve {flags}");
        let Verb::Serve(args) = Command::try_parse_from(flags.split_whitespace()).unwrap().verb else { unreachable!() };
        *args
    }

    #[test]
    fn the_flags_name_a_pool_or_its_pods() {
        assert_eq!(source(&args("--namespace prod")), None);
        let pool = PoolRef { group: "inference.networking.k8s.io".into(), name: "llama".into() };
        let of = |namespace: &str| Some(Source::Pool { namespace: namespace.into(), pool: pool.clone() });
        assert_eq!(source(&args("--namespace prod --pool-name llama")), of("prod"));
        assert_eq!(source(&args("--namespace prod --pool-name llama --pool-namespace models")), of("models"));
        let selected = source(&args("--namespace prod --endpoint-selector app=vllm --endpoint-target-ports 1,2"));
        let (namespace, selector) = ("prod".to_owned(), "app=vllm".to_owned());
        assert_eq!(selected, Some(Source::Selector { namespace, selector, ports: vec![1, 2] }));
    }

    #[test]
    fn a_tier_without_a_pools_name_is_called_like_its_deployment() {
        assert_eq!(name(&args("--pool-name llama")), "llama");
        let selected = "--endpoint-selector a=b --endpoint-target-ports 1";
        assert_eq!(name(&args(&format!("{selected} --replica-name llama-epp-6d4f5b8c9-x2x7k"))), "llama-epp");
        assert_eq!(name(&args(&format!("{selected} --replica-name host:9004"))), "default");
        assert_eq!(name(&args("--replica-name llama-epp-6d4f5b8c9-x2x7k")), "default");
    }
}
