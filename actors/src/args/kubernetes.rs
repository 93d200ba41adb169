//! Flags of a replica that finds its pool, or its peers, in the Kubernetes API.
//!
//! Must not know what a flag does.

use std::path::PathBuf;

use clap::Args;
use murmuration::dialect::kubernetes::pool::{GROUP, ports};

/// Flags of a replica that finds its pool, or its peers, in the Kubernetes API.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// The InferencePool whose pods are the endpoints. Also the `name` label of pool metrics, and the tier's name.
    /// Where the configuration names a file of endpoints, it is a label and a name alone, as in llm-d.
    #[arg(long, value_name = "NAME", conflicts_with = "endpoint_selector")]
    pub pool_name: Option<String>,
    /// The namespace of the pool, its pods and its objectives. Defaults to --namespace.
    #[arg(long, value_name = "NAMESPACE")]
    pub pool_namespace: Option<String>,
    /// The group of the InferencePool; its version is v1.
    #[arg(long, default_value = GROUP, value_name = "GROUP")]
    pub pool_group: String,
    /// A label selector of the pods that are the endpoints, for clusters without InferencePools: app=vllm,env in
    /// (prod,staging). Needs --endpoint-target-ports.
    #[arg(long, value_name = "SELECTOR", requires = "endpoint_target_ports")]
    pub endpoint_selector: Option<String>,
    /// The 1 to 8 ports on which these pods serve, with commas between them.
    #[arg(long, value_name = "PORTS", value_parser = target_ports, requires = "endpoint_selector")]
    pub endpoint_target_ports: Option<TargetPorts>,
    /// A label selector of the tier's own pods: the other replicas are found by watching these, in --namespace. Beside
    /// --peer, or instead of it.
    #[arg(long, value_name = "SELECTOR")]
    pub peer_selector: Option<String>,
    /// The namespace of this replica. Defaults to that of the pod's ServiceAccount, else to `default`.
    #[arg(long, env = "NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// A kubeconfig file, or several with colons between them. Without it, the API server of the cluster that this pod
    /// runs in, or, outside of a pod, that of ~/.kube/config.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The ports of `--endpoint-target-ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPorts(pub Vec<u16>);

/// Numbers with commas between them. One that is there twice counts once, as in llm-d.
fn target_ports(text: &str) -> Result<TargetPorts, String> {
    let number = |item: &str| {
        let number = item.trim().parse::<i64>();
        number.map_err(|_| format!("{item:?} is no number; write 8000,8001"))
    };
    let mut numbers: Vec<i64> = Vec::new();
    for item in text.split(',') {
        let number = number(item)?;
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    ports(numbers).map(TargetPorts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, Verb};

    fn parsed(flags: &str) -> Result<KubernetesArgs, String> {
        let flags = format!("murmuration serve {flags}");
        let command = Command::try_parse_from(flags.split_whitespace()).map_err(|error| error.to_string())?;
        let Verb::Serve(args) = command.verb else { unreachable!() };
        Ok(args.kubernetes)
    }

    #[test]
    fn target_ports_are_read_as_llm_d_reads_them() {
        let ports = |text: &str| target_ports(text).map(|ports| ports.0);
        assert_eq!(ports("8000"), Ok(vec![8000]));
        assert_eq!(ports("8001,8000,8001"), Ok(vec![8001, 8000]));
        for (bad, why) in [("", "is no number"), ("80,x", "is no number"), ("0", "no port"), ("70000", "no port")] {
            assert!(ports(bad).unwrap_err().contains(why), "{bad}");
        }
        assert!(ports("1,2,3,4,5,6,7,8,9").unwrap_err().contains("1 to 8"));
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        assert!(parsed("--pool-name a --endpoint-selector b=c --endpoint-target-ports 80").is_err());
        assert!(parsed("--endpoint-selector b=c").unwrap_err().contains("--endpoint-target-ports"));
        assert!(parsed("--endpoint-target-ports 80").unwrap_err().contains("--endpoint-selector"));
        let parsed = parsed("--endpoint-selector b=c --endpoint-target-ports=80,81 --peer-selector app=epp").unwrap();
        assert_eq!(parsed.endpoint_target_ports, Some(TargetPorts(vec![80, 81])));
        assert_eq!(parsed.pool_group, "inference.networking.k8s.io");
    }
}
