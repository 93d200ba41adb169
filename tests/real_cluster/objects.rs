//! The objects of the test: namespace, rights, CRDs, the pool, its pods and objectives.
//!
//! Must not know processes. The Role is the one in docs/discovery.md.

use std::fs;
use std::path::PathBuf;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::api_server::{ADMIN, ApiServer, EPP};

const NAMESPACE: &str = "prod";
const POOL: &str = "llama";
const POOL_CRD: (&str, &str) = ("inference.networking.k8s.io", "inferencepools");
const REWRITE_CRD: (&str, &str) = ("llm-d.ai", "inferencemodelrewrites");
/// The CRD of objectives.
pub(crate) const CURRENT_CRD: (&str, &str) = ("llm-d.ai", "inferenceobjectives");
/// The group that objectives had before.
pub(crate) const LEGACY_GROUP: &str = "inference.networking.x-k8s.io";
const CRD: (&str, &str, &str, &str) =
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
const LEGACY: (&str, &str, &str, &str) = (LEGACY_GROUP, "v1alpha2", "InferenceObjective", "inferenceobjectives");
const POOL_KIND: (&str, &str, &str, &str) = ("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools");
const OBJECTIVE: (&str, &str, &str, &str) = ("llm-d.ai", "v1alpha2", "InferenceObjective", "inferenceobjectives");
const REWRITE: (&str, &str, &str, &str) = ("llm-d.ai", "v1alpha2", "InferenceModelRewrite", "inferencemodelrewrites");
const POD: (&str, &str, &str, &str) = ("", "v1", "Pod", "pods");
const RBAC: &str = "rbac.authorization.k8s.io";
const ROLE: (&str, &str, &str, &str) = (RBAC, "v1", "Role", "roles");
const CLUSTER_ROLE: (&str, &str, &str, &str) = (RBAC, "v1", "ClusterRole", "clusterroles");
const CLUSTER_BINDING: (&str, &str, &str, &str) = (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings");
const BINDING: (&str, &str, &str, &str) = (RBAC, "v1", "RoleBinding", "rolebindings");

pub(crate) struct Cluster {
    client: Client,
}

/// The address of an engine.
pub(crate) fn engine_ip(number: usize) -> String {
    format!("127.0.1.{}", number + 1)
}

impl Cluster {
    pub(crate) async fn of(server: &ApiServer) -> Self {
        Self { client: server.client(ADMIN).await.unwrap() }
    }

    fn api(&self, (group, version, kind, plural): (&str, &str, &str, &str)) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        match plural {
            "namespaces" | "customresourcedefinitions" | "clusterroles" | "clusterrolebindings" => {
                Api::all_with(self.client.clone(), &kind)
            }
            _ => Api::namespaced_with(self.client.clone(), NAMESPACE, &kind),
        }
    }

    /// Applies an object, or replaces it.
    async fn apply(&self, kind: (&str, &str, &str, &str), name: &str, mut object: Value) {
        let (group, version, named, _) = kind;
        object["apiVersion"] = json!(if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") });
        object["kind"] = json!(named);
        object["metadata"]["name"] = json!(name);
        let parameters = PatchParams::apply("test").force();
        self.api(kind).patch(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    }

    async fn delete(&self, kind: (&str, &str, &str, &str), name: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        self.api(kind).delete(name, &at_once).await.unwrap();
    }

    pub(crate) async fn create_namespace_and_role(&self) {
        self.apply(("", "v1", "Namespace", "namespaces"), NAMESPACE, json!({ "metadata": {} })).await;
        self.apply(ROLE, "murmuration", documented_role()).await;
        self.create_role_binding().await;
    }

    /// Replicas may ask who reads their metrics, as docs/kubernetes.md has it.
    pub(crate) async fn allow_reviews(&self) {
        let rule =
            |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["create"] });
        let rules =
            [rule("authentication.k8s.io", "tokenreviews"), rule("authorization.k8s.io", "subjectaccessreviews")];
        self.apply(CLUSTER_ROLE, "reviews", json!({ "metadata": {}, "rules": rules })).await;
        let role = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": "reviews" });
        let subject = json!({ "apiGroup": RBAC, "kind": "User", "name": EPP });
        let binding = json!({ "metadata": {}, "roleRef": role, "subjects": [subject] });
        self.apply(CLUSTER_BINDING, "reviews", binding).await;
    }

    pub(crate) async fn create_role_binding(&self) {
        let role = json!({ "apiGroup": RBAC, "kind": "Role", "name": "murmuration" });
        let subject = json!({ "apiGroup": RBAC, "kind": "User", "name": EPP });
        self.apply(BINDING, "murmuration", json!({ "metadata": {}, "roleRef": role, "subjects": [subject] })).await;
    }

    pub(crate) async fn delete_role_binding(&self) {
        self.delete(BINDING, "murmuration").await;
    }

    /// Installs the CRDs and waits until they are served.
    pub(crate) async fn install_crds(&self) {
        for name in [POOL_CRD, CURRENT_CRD, REWRITE_CRD] {
            self.install_crd(name, None).await;
        }
    }

    /// Installs a CRD, perhaps as one of another group, and waits until it is served.
    pub(crate) async fn install_crd(&self, (group, plural): (&str, &str), other: Option<&str>) {
        let folder = PathBuf::from(std::env::var("CRDS").expect("CRDS: the folder with the CRDs"));
        let text = fs::read_to_string(folder.join(format!("{group}_{plural}.yaml"))).unwrap();
        let mut crd: Value = serde_saphyr::from_str(&text).unwrap();
        let group = other.unwrap_or(group);
        let name = format!("{plural}.{group}");
        (crd["metadata"]["name"], crd["spec"]["group"]) = (json!(name), json!(group));
        if other.is_some() {
            // Groups of the community need an approval, or this.
            crd["metadata"]["annotations"]["api-approved.kubernetes.io"] = json!("unapproved, for a test");
        }
        let mut crd: DynamicObject = serde_json::from_value(crd).unwrap();
        crd.data["status"].take();
        let api = self.api(CRD);
        // One that was just deleted may still be there.
        let mut tries = 0;
        while let Err(why) = api.create(&PostParams::default(), &crd).await {
            assert!(tries < 100, "{name}: {why}");
            tries += 1;
            sleep(Duration::from_millis(200)).await;
        }
        let established = |crd: &DynamicObject| crd.data["status"].to_string().contains("InitialNamesAccepted");
        while !established(&api.get(&name).await.unwrap()) {
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn delete_crd(&self, (group, plural): (&str, &str)) {
        self.delete(CRD, &format!("{plural}.{group}")).await;
    }

    pub(crate) async fn put_pool(&self, app: &str, ports: &[u16]) {
        self.put_pool_called(POOL, app, ports).await;
    }

    pub(crate) async fn put_pool_called(&self, name: &str, app: &str, ports: &[u16]) {
        let ports: Vec<Value> = ports.iter().map(|port| json!({ "number": port })).collect();
        let picker = json!({ "name": "epp", "port": { "number": 9002 } });
        let selector = json!({ "matchLabels": { "app": app } });
        let spec = json!({ "selector": selector, "targetPorts": ports, "endpointPickerRef": picker });
        let api = self.api(POOL_KIND);
        // A CRD that was just installed may not be served yet.
        while api.list(&Default::default()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        self.apply(POOL_KIND, name, json!({ "metadata": {}, "spec": spec })).await;
    }

    pub(crate) async fn delete_pool(&self) {
        self.delete_pool_called(POOL).await;
    }

    pub(crate) async fn delete_pool_called(&self, name: &str) {
        self.delete(POOL_KIND, name).await;
    }

    pub(crate) async fn put_objective(&self, name: &str, priority: i32) {
        let spec = json!({ "priority": priority, "poolRef": { "name": POOL } });
        self.apply(OBJECTIVE, name, json!({ "metadata": {}, "spec": spec })).await;
    }

    pub(crate) async fn put_legacy_objective(&self, name: &str, priority: i32) {
        let api = self.api(LEGACY);
        while api.list(&Default::default()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        let spec = json!({ "priority": priority, "poolRef": { "name": POOL } });
        self.apply(LEGACY, name, json!({ "metadata": {}, "spec": spec })).await;
    }

    /// Whether the condition Accepted of a legacy objective has this status and reason.
    pub(crate) async fn legacy_says(&self, name: &str, status: &str, reason: &str) -> bool {
        let object = self.api(LEGACY).get(name).await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Accepted" && one["status"] == status && one["reason"] == reason)
    }

    pub(crate) async fn put_rewrite(&self, name: &str, target: &str) {
        let rules = json!([{ "targets": [{ "modelRewrite": target }] }]);
        let spec = json!({ "poolRef": { "name": POOL }, "rules": rules });
        self.apply(REWRITE, name, json!({ "metadata": {}, "spec": spec })).await;
    }

    pub(crate) async fn delete_rewrite(&self, name: &str) {
        self.delete(REWRITE, name).await;
    }

    /// Whether the objective is accepted, as it is now.
    pub(crate) async fn is_accepted(&self, name: &str) -> bool {
        is_accepted(&self.api(OBJECTIVE).get(name).await.unwrap())
    }

    /// The same of a rewrite.
    pub(crate) async fn is_rewrite_accepted(&self, name: &str) -> bool {
        is_accepted(&self.api(REWRITE).get(name).await.unwrap())
    }

    /// The version of an objective, and how many managers of its status there are.
    pub(crate) async fn version_and_writers(&self, name: &str) -> (String, usize) {
        let metadata = self.api(OBJECTIVE).get(name).await.unwrap().metadata;
        let fields = metadata.managed_fields.unwrap_or_default();
        let of_status = fields.iter().filter(|entry| entry.subresource.as_deref() == Some("status"));
        let writers: Vec<&str> = of_status.filter_map(|entry| entry.manager.as_deref()).collect();
        assert!(writers.iter().all(|writer| *writer == "murmuration"), "{writers:?}");
        (metadata.resource_version.unwrap(), writers.len())
    }

    /// Creates a pod and patches its status, as a kubelet would.
    pub(crate) async fn create_pod(&self, name: &str, app: &str, ip: &str, ready: bool) {
        let spec = json!({ "containers": [{ "name": "c", "image": "none" }] });
        self.apply(POD, name, json!({ "metadata": { "labels": { "app": app } }, "spec": spec })).await;
        let status = json!({ "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] });
        self.patch_status(name, status, ready).await;
    }

    pub(crate) async fn set_ready(&self, name: &str, ready: bool) {
        self.patch_status(name, json!({}), ready).await;
    }

    async fn patch_status(&self, name: &str, mut status: Value, ready: bool) {
        status["conditions"] = json!([{ "type": "Ready", "status": if ready { "True" } else { "False" } }]);
        let patch = json!({ "status": status });
        self.api(POD).patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub(crate) async fn delete_pod(&self, name: &str) {
        self.delete(POD, name).await;
    }
}

/// Whether the condition Accepted is true, and about the object as it is now.
fn is_accepted(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let accepted = |one: &Value| one["type"] == "Accepted" && one["status"] == "True";
    let generation = object.metadata.generation;
    conditions.iter().any(|one| accepted(one) && one["observedGeneration"].as_i64() == generation)
}

/// The Role that the documentation tells operators to create.
fn documented_role() -> Value {
    let page = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/discovery.md")).unwrap();
    let block = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a Role on the page");
    let role: Value = serde_saphyr::from_str(block).unwrap();
    assert_eq!(role["kind"], "Role");
    role
}
