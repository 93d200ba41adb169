//! A real API server: etcd and kube-apiserver on loopback, as envtest names them (`KUBEBUILDER_ASSETS`).
//!
//! Must not know what it stores. All of it ends with this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::processes::free_port;

/// The user with all rights.
pub(crate) const ADMIN: &str = "admin";
/// The user that replicas are.
pub(crate) const EPP: &str = "epp";

pub(crate) struct ApiServer {
    folder: PathBuf,
    port: u16,
    etcd_port: u16,
    _etcd: Child,
    server: Option<Child>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("murmuration-cluster-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let mut key = Command::new("openssl");
        key.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(folder.join("sa.key"));
        assert!(key.stderr(Stdio::null()).status().await.expect("openssl").success());
        let tokens = "admin-token,admin,1,\"system:masters\"\nepp-token,epp,2\n";
        fs::write(folder.join("tokens.csv"), tokens).unwrap();
        let (port, etcd_port, peer_port) = (free_port("127.0.0.1"), free_port("127.0.0.1"), free_port("127.0.0.1"));
        let mut etcd = program("etcd", &folder.join("etcd.log"));
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        etcd.arg("--data-dir").arg(folder.join("etcd")).arg("--unsafe-no-fsync");
        etcd.args(["--listen-client-urls", &url(etcd_port), "--advertise-client-urls", &url(etcd_port)]);
        etcd.args(["--listen-peer-urls", &url(peer_port), "--initial-advertise-peer-urls", &url(peer_port)]);
        etcd.args(["--initial-cluster", &format!("default={}", url(peer_port))]);
        let etcd = etcd.spawn().expect("etcd");
        let mut server = Self { folder, port, etcd_port, _etcd: etcd, server: None };
        server.restart().await;
        server
    }

    /// Starts the API server and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut server = program("kube-apiserver", &self.folder.join("kube-apiserver.log"));
        let flags = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--cert-dir={}", at("certificates")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", at("sa.key")),
            format!("--service-account-signing-key-file={}", at("sa.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        self.server = Some(server.args(flags).spawn().expect("kube-apiserver"));
        for _ in 0..600 {
            if let Ok(client) = self.client(ADMIN).await
                && client.request_text(http::Request::get("/readyz").body(Vec::new()).unwrap()).await.is_ok()
            {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let log = fs::read_to_string(self.folder.join("kube-apiserver.log")).unwrap_or_default();
        panic!("kube-apiserver is not ready: {}", log.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
    }

    /// Kills the API server. What it stored stays.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.unwrap();
        }
    }

    /// A kubeconfig of this user.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        let path = self.folder.join(format!("{user}.kubeconfig"));
        let (url, ca) = (format!("https://127.0.0.1:{}", self.port), self.folder.join("certificates/apiserver.crt"));
        let text = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": url, "certificate-authority": ca } }],
            "users": [{ "name": user, "user": { "token": format!("{user}-token") } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
            "current-context": "test",
        });
        fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// A client of this user.
    pub(crate) async fn client(&self, user: &str) -> Result<Client, Box<dyn std::error::Error>> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program of the assets that ends with this process.
fn program(name: &str, log: &Path) -> Command {
    let assets =
        std::env::var("KUBEBUILDER_ASSETS").expect("KUBEBUILDER_ASSETS: a folder with etcd and kube-apiserver");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(Path::new(&assets).join(name));
    let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    command.stdout(Stdio::null()).stderr(log).stdin(Stdio::null()).kill_on_drop(true);
    command
}
