//! The sample web app of the classroom, with the same answers as its Node.js original.
//!
//! It keeps sessions in memory on purpose: only with a sticky cookie does a client see its
//! `sessionViews` grow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use roundel_config::value;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::cli::ToyArgs;

/// The name of the session's cookie, as in the original.
const COOKIE: &str = "NODESESSID";
/// The most sessions kept; beyond it the oldest goes.
const MAX_SESSIONS: usize = 10_000;
/// The longest delay that can be asked for.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// One running toy's state.
pub(crate) struct Toy {
    host: String,
    tag: String,
    delay_ms: AtomicU64,
    sessions: Mutex<Sessions>,
}

/// Sessions by id. Ids grow in time, so the first of the map is the oldest.
#[derive(Default)]
struct Sessions {
    views: BTreeMap<String, u64>,
    made: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello<'a> {
    hello: &'static str,
    ip: String,
    host: &'a str,
    tag: &'a str,
    session_views: u64,
    id: String,
}

#[derive(Deserialize)]
struct Delay {
    delay: u64,
}

impl Toy {
    /// A toy that calls itself `host`.
    pub(crate) fn new(host: String, tag: String) -> Arc<Self> {
        Arc::new(Self {
            host,
            tag,
            delay_ms: AtomicU64::new(0),
            sessions: Mutex::default(),
        })
    }

    /// The app's routes.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(hello))
            .route("/delay", post(delay))
            .route("/healthz", get(|| async { "ok\n" }))
            .with_state(Arc::clone(self))
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.delay_ms.load(Relaxed))
    }
}

impl Sessions {
    /// Counts one view in the session `id`, or in a new one.
    fn view(&mut self, id: Option<&str>) -> (String, u64, bool) {
        if let Some(id) = id
            && let Some(views) = self.views.get_mut(id)
        {
            *views += 1;
            return (id.to_owned(), *views, false);
        }
        self.made += 1;
        let random = fastrand::u128(..);
        let id = format!("{:012x}{random:032x}", self.made);
        if self.views.len() >= MAX_SESSIONS {
            self.views.pop_first();
        }
        self.views.insert(id.clone(), 1);
        (id, 1, true)
    }
}

/// `GET /`. A HEAD, as health checks send it, opens no session.
async fn hello(
    State(toy): State<Arc<Toy>>,
    ConnectInfo(local): ConnectInfo<Local>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    tokio::time::sleep(toy.pause()).await;
    let ip = local.0.ip().to_canonical();
    let backend = HeaderValue::from_str(&ip.to_string()).expect("an address is a field value");
    let shown = [(HeaderName::from_static("x-backend-ip"), backend)];
    if method == Method::HEAD {
        return (shown, [(header::CONTENT_TYPE, "application/json")]).into_response();
    }
    let (id, session_views, fresh) = {
        let mut sessions = toy.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.view(session_cookie(&headers))
    };
    let body = Json(Hello {
        hello: "world!",
        ip: ip.to_string(),
        host: &toy.host,
        tag: &toy.tag,
        session_views,
        id: id.clone(),
    });
    let mut response = (shown, body).into_response();
    if fresh {
        let cookie = format!("{COOKIE}={id}; Path=/; HttpOnly");
        let cookie = HeaderValue::from_str(&cookie).expect("hexadecimal digits");
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// `POST /delay {"delay": ms}`: every later answer of `/` waits that long.
async fn delay(State(toy): State<Arc<Toy>>, Json(body): Json<Delay>) -> Response {
    let most = MAX_DELAY.as_millis() as u64;
    if body.delay > most {
        let text = format!("at most {most} ms\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    toy.delay_ms.store(body.delay, Relaxed);
    Json(serde_json::json!({ "message": "Delay successfully set", "delay": body.delay }))
        .into_response()
}

fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The address on which a connection came in.
#[derive(Clone, Copy)]
struct Local(SocketAddr);

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, TcpListener>>
    for Local
{
    fn connect_info(stream: axum::serve::IncomingStream<'_, TcpListener>) -> Self {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        Self(stream.io().local_addr().unwrap_or(unknown))
    }
}

/// Serves a toy on `listener` until `stop` is ready; requests in flight end first.
pub(crate) async fn serve(
    toy: Arc<Toy>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = toy.router().into_make_service_with_connect_info::<Local>();
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await
}

/// The verb `toy`.
pub(crate) fn run(args: &ToyArgs) -> anyhow::Result<()> {
    let address = match args.listen {
        Some(address) => address,
        None => value::listen(":3000")?,
    };
    let name = args
        .node_name
        .clone()
        .unwrap_or_else(roundel_config::host::node_name);
    let version = || env!("CARGO_PKG_VERSION").to_owned();
    let tag = args.tag.clone().unwrap_or_else(version);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another address with --listen")
        })?;
        let local = listener.local_addr()?;
        tracing::info!("toy {name} answers on http://{local}");
        let stop = crate::signals::Signals::new()?.ended();
        serve(Toy::new(name.to_string(), tag), listener, stop).await?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_its_views() {
        let mut sessions = Sessions::default();
        let (id, views, fresh) = sessions.view(None);
        assert_eq!((views, fresh), (1, true));
        assert_eq!(sessions.view(Some(&id)), (id, 2, false));
        let (_, views, fresh) = sessions.view(Some("unknown"));
        assert_eq!((views, fresh), (1, true));
    }

    #[test]
    fn old_sessions_make_room() {
        let mut sessions = Sessions::default();
        let (first, ..) = sessions.view(None);
        for _ in 0..MAX_SESSIONS {
            sessions.view(None);
        }
        assert_eq!(sessions.views.len(), MAX_SESSIONS);
        assert!(!sessions.views.contains_key(&first));
    }

    #[test]
    fn finds_its_cookie_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("NODESESSIDX=2; NODESESSID=abc"),
        );
        assert_eq!(session_cookie(&headers), Some("abc"));
    }
}
