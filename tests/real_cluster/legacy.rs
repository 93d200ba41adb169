//! The legacy group of objectives beside the current one, and alone once that is uninstalled.
//!
//! Must not know other parts of the test.

use crate::objects::{CURRENT_CRD, Cluster, LEGACY_GROUP};
use crate::processes::ReplicaProcess;
use crate::until;

const NAME: &str = "former";

/// Objects of the legacy group are superseded while the current one is installed, and count when it is not.
pub(crate) async fn run(cluster: &Cluster, replica: &ReplicaProcess) {
    cluster.install_crd(CURRENT_CRD, Some(LEGACY_GROUP)).await;
    cluster.put_legacy_objective(NAME, 77).await;
    until("a legacy objective is superseded", || cluster.legacy_says(NAME, "False", "Superseded")).await;
    cluster.delete_crd(CURRENT_CRD).await;
    until("it is accepted without the current CRD", || cluster.legacy_says(NAME, "True", "Accepted")).await;
    let seen = || async {
        replica.request_is_served(Some(NAME)).await;
        replica.metrics().await.contains("priority=\"77\"")
    };
    until("and it sets priorities", seen).await;
    cluster.install_crd(CURRENT_CRD, None).await;
    until("and is superseded again", || cluster.legacy_says(NAME, "False", "Superseded")).await;
}
