//! Requests and what is replied.

use std::borrow::Cow;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::address::names_this_machine;
use super::answers::{Answers, Failure, Question};
use super::page::Page;
use crate::control::Client;
use crate::metrics::Format;

/// What every reply says: it is of now, and for nobody else's pages.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// For what is no page.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";

/// What can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Page,
    Ask(Question),
}

/// A request that is not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "only GET and HEAD are served here: nothing can be changed over HTTP; netqosctl changes things"
    )]
    Method,
    #[error("there is nothing at this path; there is /, /metrics and /api/report[?classes=GUEST]")]
    Path,
    #[error("the only parameter of /api/report is classes=GUEST, and `{0}` is another")]
    Parameter(String),
    #[error(
        "the request's Host is not this machine: use http://localhost or the address, or have the daemon \
         listen on an address that is not loopback"
    )]
    Host,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// What is served, to all connections.
#[derive(Debug)]
pub(super) struct Site {
    address: SocketAddr,
    answers: Answers,
    page: Page,
}

impl Site {
    pub(super) fn new(address: SocketAddr, client: Client) -> Self {
        Self {
            address,
            answers: Answers::new(client),
            page: Page::new(),
        }
    }

    /// Replies to a request; its body is not read.
    pub(super) async fn reply<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let route = match self.route(request) {
            Ok(route) => route,
            Err(refusal) => return sentence(refusal.status(), &refusal),
        };
        let question = match route {
            Route::Page => return self.page(),
            Route::Ask(question) => question,
        };
        let content_type = match question {
            Question::Metrics(format) => format.content_type(),
            Question::Report | Question::Classes(_) => "application/json",
        };
        // Only a guest that was asked for can be unknown.
        let missing = match question {
            Question::Classes(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        match self.answers.get(question).await {
            Ok(body) => response(StatusCode::OK, content_type, NO_PAGE, body),
            Err(failure @ Failure::Refused(_)) => sentence(missing, &failure),
            Err(failure) => sentence(StatusCode::SERVICE_UNAVAILABLE, &failure),
        }
    }

    fn route<B>(&self, request: &Request<B>) -> Result<Route, Refusal> {
        if self.address.ip().to_canonical().is_loopback() && !is_for_this_machine(request) {
            return Err(Refusal::Host);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        match request.uri().path() {
            "/" => Ok(Route::Page),
            "/metrics" => Ok(Route::Ask(Question::Metrics(format(request.headers())))),
            "/api/report" => {
                let guests = guests(request.uri().query().unwrap_or_default())?;
                Ok(Route::Ask(match guests.is_empty() {
                    true => Question::Report,
                    false => Question::Classes(guests),
                }))
            }
            _ => Err(Refusal::Path),
        }
    }

    fn page(&self) -> Response<Full<Bytes>> {
        let Page { html, policy } = &self.page;
        let html = Bytes::copy_from_slice(html.as_bytes());
        response(StatusCode::OK, "text/html; charset=utf-8", policy, html)
    }
}

/// Whether the request names this machine, wherever it says to whom it goes.
fn is_for_this_machine<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST);
    let host = host.is_some_and(|host| host.to_str().is_ok_and(names_this_machine));
    let authority = request.uri().authority();
    host && authority.is_none_or(|authority| names_this_machine(authority.as_str()))
}

/// OpenMetrics for those who say that they read it.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.contains("application/openmetrics-text")) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    }
}

/// The guests whose classes are asked for.
fn guests(query: &str) -> Result<Vec<String>, Refusal> {
    let parameters = form_urlencoded::parse(query.as_bytes());
    let guest = |(key, value): (Cow<'_, str>, Cow<'_, str>)| match &*key {
        "classes" => Ok(value.into_owned()),
        _ => Err(Refusal::Parameter(key.into_owned())),
    };
    parameters.map(guest).collect()
}

/// A reply of one sentence.
fn sentence(status: StatusCode, sentence: &dyn std::fmt::Display) -> Response<Full<Bytes>> {
    let body = Bytes::from(format!("{sentence}\n"));
    let mut reply = response(status, "text/plain; charset=utf-8", NO_PAGE, body);
    let more = match status {
        StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
        _ => None,
    };
    if let Some((name, value)) = more {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    policy: &str,
    body: Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A policy is made of letters, hashes and quotes.
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
