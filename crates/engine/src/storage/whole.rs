//! Responses of a store that are read whole before they count as received.
//!
//! The store's client tries a request again whose connection breaks, and goes on with an object where it broke off. The body
//! of anything else, such as a page of a listing or an error, is read when nothing is tried again any more. Here such a
//! body is part of its request: if it breaks off, the request has failed, and the client does with it what it always does.

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
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}
