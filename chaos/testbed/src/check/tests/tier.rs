//! A tier in one task: answers of the right shape, and one fault at a time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::check::Target;

/// What is wrong with the tier. Requests without a picker are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    AltersBodies,
    CutsBodies,
    Scatters,
    Forgets,
    CountsNoCache,
    LosesUsage,
    LosesDone,
    CutsText,
    RepeatsAfterDone,
    LosesName,
    PassesBrokenJson,
    HidesNotFound,
    IsBusy,
    IsNotReady,
    LeavesAReplicaOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Public,
    Direct,
    Admin,
}

struct State {
    fault: Fault,
    /// Pairs of an engine and the hash of a prompt's head that were seen.
    seen: Mutex<BTreeSet<(u64, u64)>>,
    asked: AtomicUsize,
}

/// Dropping it ends its tasks.
pub(super) struct Tier {
    pub(super) target: Target,
    _tasks: JoinSet<()>,
}

impl Tier {
    pub(super) async fn start(fault: Fault) -> Self {
        let state = Arc::new(State { fault, seen: Mutex::default(), asked: AtomicUsize::new(0) });
        let mut tasks = JoinSet::new();
        let public = listen(&mut tasks, &state, Way::Public).await;
        let direct = listen(&mut tasks, &state, Way::Direct).await;
        let replica = listen(&mut tasks, &state, Way::Admin).await;
        let target =
            Target { public, direct, model: "tiny".to_owned(), engines: 4, replicas: vec![replica], replication: None };
        Self { target, _tasks: tasks }
    }
}

async fn listen(tasks: &mut JoinSet<()>, state: &Arc<State>, way: Way) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::clone(state);
    let router = Router::new()
        .fallback(async move |uri: Uri, body: Bytes| serve(&state, way, uri.path(), &body))
        .layer(DefaultBodyLimit::disable());
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn serve(state: &State, way: Way, path: &str, body: &[u8]) -> Response {
    let fault = if way == Way::Direct { Fault::None } else { state.fault };
    match path {
        "/readyz" if fault == Fault::IsNotReady => plain(503, "endpoints not known yet\n"),
        "/readyz" => plain(200, "ready\n"),
        "/debug/decisions" if fault == Fault::LeavesAReplicaOut => plain(200, "[]"),
        "/debug/decisions" => plain(200, r#"[{"request_id":"r","endpoint":"engine-0"}]"#),
        "/v1/models" => {
            named(fault, 0, plain(200, r#"{"data":[{"id":"tiny","parent":null},{"id":"tiny-sql","parent":"tiny"}]}"#))
        }
        _ => answer(state, fault, body),
    }
}

fn answer(state: &State, fault: Fault, body: &[u8]) -> Response {
    let asked = state.asked.fetch_add(1, Ordering::SeqCst);
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        if fault == Fault::PassesBrokenJson {
            return named(
                fault,
                0,
                plain(
                    400,
                    r#"{"error":{"message":"JSON decode error","type":"Bad Request","param":"body.25","code":400}}"#,
                ),
            );
        }
        let mut refusal = plain(400, "inference error: BadRequest - the body is no JSON");
        refusal.headers_mut().insert("x-llm-d-request-dropped-reason", "bad-request".parse().unwrap());
        return refusal;
    };
    if fault == Fault::IsBusy && asked.is_multiple_of(16) {
        return named(fault, 0, plain(503, r#"{"error":{"message":"busy","type":"Service Unavailable","code":503}}"#));
    }
    let model = body["model"].as_str().unwrap();
    if !["tiny", "tiny-sql"].contains(&model) {
        let status = if fault == Fault::HidesNotFound { 500 } else { 404 };
        let error =
            json!({"error": {"message": "no such model", "type": "NotFoundError", "param": "model", "code": status}});
        return named(fault, 0, plain(status, &error.to_string()));
    }
    let chat = body["messages"].is_array();
    let mut prompt = if chat { body["messages"].to_string() } else { body["prompt"].as_str().unwrap().to_owned() };
    match fault {
        Fault::AltersBodies => prompt = prompt.replace("椋鳥", "123456"),
        Fault::CutsBodies if prompt.len() > 62_000 => prompt.truncate(prompt.len() - 400),
        _ => {}
    }
    let head = xxh3_64(&prompt.as_bytes()[..prompt.len().min(4096)]);
    let engine = if fault == Fault::Scatters { asked as u64 % 4 } else { head % 4 };
    let again = !state.seen.lock().unwrap().insert((engine, head)) && fault != Fault::Forgets;
    let details = json!({ "cached_tokens": if again { 1024.min(prompt.len() as u64 / 8) } else { 0 } });
    let details = if fault == Fault::CountsNoCache { Value::Null } else { details };
    let (tokens, answers) = (prompt.len() as u64 / 4, body["max_tokens"].as_u64().unwrap());
    let mut usage = json!({ "prompt_tokens": tokens, "completion_tokens": answers, "total_tokens": tokens + answers });
    usage["prompt_tokens_details"] = details;
    let text = format!("{:016x}", xxh3_64(prompt.as_bytes()));
    let response = if body["stream"] == true {
        stream(fault, model, chat, &text, &usage)
    } else {
        whole(model, chat, &text, &usage)
    };
    named(fault, engine, response)
}

fn whole(model: &str, chat: bool, text: &str, usage: &Value) -> Response {
    let choice = if chat {
        json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"})
    } else {
        json!({"index": 0, "text": text, "finish_reason": "length"})
    };
    let object = if chat { "chat.completion" } else { "text_completion" };
    let body = json!({"id": "x", "object": object, "model": model, "choices": [choice], "usage": usage});
    plain(200, &body.to_string())
}

fn stream(fault: Fault, model: &str, chat: bool, text: &str, usage: &Value) -> Response {
    let object = if chat { "chat.completion.chunk" } else { "text_completion" };
    let event = |choices: Value, usage: &Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": object, "model": model, "choices": choices, "usage": usage})
        )
    };
    let piece = |text: &str, reason: Value| {
        let choice = if chat {
            json!([{"index": 0, "delta": {"content": text}, "finish_reason": reason}])
        } else {
            json!([{"index": 0, "text": text, "finish_reason": reason}])
        };
        event(choice, &Value::Null)
    };
    let (first, second) = text.split_at(8);
    let mut body = String::new();
    if fault != Fault::CutsText {
        body += &piece(first, Value::Null);
    }
    body += &piece(second, json!("length"));
    if fault != Fault::LosesUsage {
        body += &event(json!([]), usage);
    }
    if fault != Fault::LosesDone {
        body += "data: [DONE]\n\n";
    }
    if fault == Fault::RepeatsAfterDone {
        body += &piece(second, json!("length"));
    }
    let mut response = plain(200, &body);
    response.headers_mut().insert("content-type", "text/event-stream; charset=utf-8".parse().unwrap());
    response
}

fn plain(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json")], body.to_owned()).into_response()
}

fn named(fault: Fault, engine: u64, mut response: Response) -> Response {
    if fault != Fault::LosesName {
        response.headers_mut().insert("x-inference-pod", format!("engine-{engine}").parse().unwrap());
    }
    response
}
