//! Responses of a store that are read whole before they count as received, and what a conflict means.
//!
//! The store's client tries a request again whose connection breaks, and goes on with an object where it broke off. The body
//! of anything else, such as a page of a listing or an error, is read when nothing is tried again any more. Here such a
//! body is part of its request: if it breaks off, the request has failed, and the client does with it what it always does.
//!
//! To a write on a condition S3 may say that another operation was at work at the same time. That tells nothing about the
//! condition, and is to be tried again (`ConditionalRequestConflict`); the client would take it for an object that is there.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector};

/// Makes clients that read responses whole.
#[derive(Debug, Default)]
pub(super) struct WholeResponses {
    inner: ReqwestConnector,
}

impl HttpConnector for WholeResponses {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Whole(self.inner.connect(options)?)))
    }
}

/// What S3 calls a conflict that is to be tried again.
const TRY_AGAIN: &[u8] = b"ConditionalRequestConflict";
/// The status of a server that is busy: what the client tries again.
const BUSY: u16 = 503;

#[derive(Debug)]
struct Whole(HttpClient);

#[async_trait]
impl HttpService for Whole {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_get = request.method().as_str() == "GET";
        let is_list = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let response = self.0.execute(request).await?;
        if is_get && !is_list && response.status().is_success() {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        if parts.status.as_u16() == 409 && body.windows(TRY_AGAIN.len()).any(|part| part == TRY_AGAIN) {
            parts.status = BUSY.try_into().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}
