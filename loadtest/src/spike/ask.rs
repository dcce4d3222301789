//! One request through goose: counted by us as the contract means it, and by goose as a success
//! whenever the contract has such an answer.

use std::time::Duration;

use goose::goose::{GooseMethod, GooseRequest, GooseUser, TransactionError};
use tokio::time::Instant;

use super::stage::Stage;
use crate::http::{Reply, retry_wait};
use crate::tally::Kind;

/// Pause after a connection broke.
const BROKEN_PAUSE_MS: u64 = 50;

/// Goose ends a visit with its own error only when the attack itself is over.
pub(super) type Asked<T> = Result<T, Box<TransactionError>>;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    /// Its name in goose's report.
    pub(super) name: &'a str,
    /// `GET` or `POST`.
    pub(super) method: GooseMethod,
    /// Path, or a whole URL.
    pub(super) path: &'a str,
    /// The bearer token.
    pub(super) token: &'a str,
    /// The body and its content type; none when empty.
    pub(super) body: (&'a str, &'a str),
}

impl<'a> Ask<'a> {
    /// A `GET`.
    pub(super) fn get(name: &'a str, path: &'a str, token: &'a str) -> Self {
        Self { name, method: GooseMethod::Get, path, token, body: ("", "") }
    }

    /// A `POST` of JSON, or of nothing.
    pub(super) fn post(name: &'a str, path: &'a str, token: &'a str, body: &'a str) -> Self {
        Self { name, method: GooseMethod::Post, path, token, body: (body, "application/json") }
    }
}

/// The request as its client sends it. A macro: the type of the builder belongs to a crate that only
/// goose knows.
macro_rules! built {
    ($user:expr, $ask:expr) => {{
        let mut builder = $user.get_request_builder(&$ask.method, $ask.path)?;
        if !$ask.token.is_empty() {
            builder = builder.header("authorization", format!("Bearer {}", $ask.token));
        }
        if !$ask.body.0.is_empty() {
            builder = builder.header("content-type", $ask.body.1).body($ask.body.0.to_owned());
        } else if $ask.method == GooseMethod::Post {
            builder = builder.header("content-length", "0");
        }
        builder
    }};
}

/// The whole answer, or none when it was cut off.
macro_rules! reply {
    ($response:expr) => {{
        let response = $response;
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after_s = retry_after.and_then(|value| value.parse().ok());
        let status = response.status().as_u16();
        let body = response.bytes().await.ok();
        body.map(|body| Reply { status, retry_after_s, body: body.to_vec() })
    }};
}

/// Asks once; none when no answer came.
async fn ask(user: &mut GooseUser, ask: &Ask<'_>) -> Asked<Option<Reply>> {
    let builder = built!(user, ask);
    let request = GooseRequest::builder()
        .name(ask.name)
        .method(ask.method)
        .path(ask.path)
        .set_request_builder(builder)
        .build();
    let mut answered = user.request(request).await?;
    let Ok(response) = answered.response else { return Ok(None) };
    let status = response.status().as_u16();
    if status < 500 || status == 503 {
        user.set_success(&mut answered.request)?;
    }
    Ok(reply!(response))
}

/// Asks once beside whatever the user is doing: a second click. Goose does not count it.
pub(super) fn beside(user: &GooseUser, ask: &Ask<'_>) -> Asked<impl Future<Output = Option<Reply>> + use<>> {
    let builder = built!(user, ask);
    Ok(async move { reply!(builder.send().await.ok()?) })
}

/// The last answer, what it means, and whether a try before it may have had its effect.
pub(super) type Stepped = (Option<Reply>, Kind, bool);

/// Asks until something other than "try again" comes. No answer when the patience
/// ran out.
pub(super) async fn persist(
    user: &mut GooseUser,
    stage: &Stage,
    request: &Ask<'_>,
    meaning: impl Fn(&Reply) -> Kind,
    give_up: Instant,
) -> Asked<Stepped> {
    let (mut unclear, mut is_first) = (false, true);
    loop {
        let reply = ask(user, request).await?;
        let kind = reply.as_ref().map_or(Kind::Broken, &meaning);
        let kind = if is_first { kind.at_once() } else { kind };
        stage.tally.count(kind);
        if let Some(reply) = &reply {
            stage.tally.explain(kind, reply.status, &reply.body);
        }
        if !kind.is_retry() {
            return Ok((reply, kind, unclear));
        }
        is_first = false;
        unclear |= kind != Kind::Limited;
        let pause = match &reply {
            Some(reply) => retry_wait(reply.retry_after_s),
            None => Duration::from_millis(BROKEN_PAUSE_MS),
        };
        if Instant::now() + pause > give_up {
            return Ok((None, kind, unclear));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Asks something off the purchase path, with the same patience.
pub(super) async fn other(
    user: &mut GooseUser,
    stage: &Stage,
    request: &Ask<'_>,
    give_up: Instant,
) -> Asked<Option<Reply>> {
    let meaning = |reply: &Reply| Kind::of_other(reply.status);
    Ok(persist(user, stage, request, meaning, give_up).await?.0)
}
