//! Limits on unknown clients: they can't hold the connection slots of a replica, or read its debug pages.
//!
//! | port | rule | test |
//! |---|---|---|
//! | admin | half requests hold a bounded number of slots, which become free again | `half_requests_of_one_address_hold_a_bounded_number_of_slots` |
//! | all | a client that does not speak the port's protocol is disconnected | `a_client_that_does_not_speak_http2_is_disconnected` (deadline: `connection/repaired_tests.rs`) |
//! | ext-proc | handshakes that never end delay no other client | `idle_tls_connections_delay_no_other_client` |
//! | admin | debug pages answer this machine only | `actors/src/admin/pages_server.rs`, `access.rs` |

use murmuration_actors::admin::client;
use murmuration_actors::replica::Tls;
use murmuration_kit::{Config, Replica, TIMEOUT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const POOL: [&str; 1] = ["127.0.0.1:7"];

#[tokio::test]
async fn half_requests_of_one_address_hold_a_bounded_number_of_slots() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let admin = replica.addresses().admin;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut half = TcpStream::connect(admin).await.unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        held.push(half);
    }
    // A connection without a slot is closed.
    replica.until_metric("murmuration_connections_closed_total", 200 - 128).await;
    drop(held);
    let asked = async {
        while client::fetch(admin, "/metrics").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, asked).await.expect("the slots are free again");
}

#[tokio::test]
async fn a_client_that_does_not_speak_http2_is_disconnected() {
    let replica = Replica::start(Config::default(), &POOL).await;
    for port in [replica.addresses().ext_proc, replica.addresses().health] {
        let mut client = TcpStream::connect(port).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let ended = timeout(TIMEOUT, client.read_to_end(&mut Vec::new())).await;
        ended.expect("the connection ends").ok();
    }
}

#[tokio::test]
async fn idle_tls_connections_delay_no_other_client() {
    let replica = Replica::start(Config { tls: Tls::SelfSigned, ..Config::default() }, &POOL).await;
    let at = replica.addresses().ext_proc;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(at).await.unwrap());
    }
    // A connection above the quota of its address replaces the oldest one at once.
    replica.until_metric("murmuration_connections_closed_total", 300 - 64).await;
    let ended = timeout(TIMEOUT, idle[0].read_to_end(&mut Vec::new())).await;
    ended.expect("the oldest is gone").ok();
}
