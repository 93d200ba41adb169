//! Certificates: how they are made, read, refused and reloaded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;
use tokio::task::JoinSet;

use super::*;

struct Directory(PathBuf);

// === impl Directory ===

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("murmuration-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.0.join("tls.crt"), certificate).unwrap();
        std::fs::write(self.0.join("tls.key"), key).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, in PEM.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn leaf(tls: &ServerTls) -> Vec<u8> {
    tls.current.0.read().unwrap().end_entity_cert().unwrap().to_vec()
}

#[test]
fn a_self_signed_certificate_is_new_each_time_and_offers_http2_only() {
    let (one, other) = (ServerTls::self_signed().unwrap(), ServerTls::self_signed().unwrap());
    assert_ne!(leaf(&one), leaf(&other));
    assert_eq!(one.config.alpn_protocols, [b"h2".to_vec()]);
}

#[test]
fn a_directory_without_files_names_the_file_and_the_flag() {
    let directory = Directory::new("empty");
    let error = ServerTls::from_directory(&directory.0).unwrap_err().to_string();
    assert!(error.contains("tls.crt") && error.contains("--cert-path"), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let directory = Directory::new("mismatch");
    let ((certificate, _), (_, key)) = (made(), made());
    directory.write(&certificate, &key);
    assert!(matches!(ServerTls::from_directory(&directory.0), Err(TlsError::Certificate(_))));
}

#[test]
fn text_that_is_no_pem_is_refused_by_name() {
    let directory = Directory::new("nonsense");
    let (certificate, key) = made();
    directory.write("nonsense", &key);
    assert!(ServerTls::from_directory(&directory.0).unwrap_err().to_string().contains("holds no certificate"));
    directory.write(&certificate, "nonsense");
    assert!(ServerTls::from_directory(&directory.0).unwrap_err().to_string().contains("holds no private key"));
}

#[tokio::test(start_paused = true)]
async fn a_changed_certificate_takes_effect_and_a_broken_one_is_reported_once_and_does_not() {
    let directory = Directory::new("reload");
    let (certificate, key) = made();
    directory.write(&certificate, &key);
    let tls = ServerTls::from_directory(&directory.0).unwrap();
    let first = leaf(&tls);
    let events = Arc::new(Mutex::new(Vec::new()));
    let record = {
        let events = events.clone();
        move |event| events.lock().unwrap().push(event)
    };
    let mut follower = JoinSet::new();
    follower.spawn(tls.clone().follow(directory.0.clone(), record));

    sleep(LOOK_INTERVAL * 2).await;
    assert!(events.lock().unwrap().is_empty());

    directory.write("nonsense", &key);
    sleep(LOOK_INTERVAL * 3).await;
    assert!(matches!(events.lock().unwrap().as_slice(), [Event::ReloadFailed(_)]));
    assert_eq!(leaf(&tls), first);

    let (certificate, key) = made();
    directory.write(&certificate, &key);
    sleep(LOOK_INTERVAL * 2).await;
    assert!(matches!(events.lock().unwrap().as_slice(), [Event::ReloadFailed(_), Event::Reloaded(_)]));
    assert_ne!(leaf(&tls), first);
}
