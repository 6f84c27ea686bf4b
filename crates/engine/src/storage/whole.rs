//! Responses of a store that are read whole before they count as received, and what a conflict means.
//!
//! The store's client tries a request again whose connection breaks, and goes on with an object where it broke off. The body
//! of anything else, such as a page of a listing or an error, is read when nothing is tried again any more. Here such a
//! body is part of its request: if it breaks off, the request has failed, and the client does with it what it always does.
//!
//! To a write on a condition S3 may say that another operation was at work at the same time. That tells nothing about the
//! condition, and is to be tried again (`ConditionalRequestConflict`); the client would take it for an object that is there. And
//! of a connection that was too slow it says `RequestTimeout` with the status of a bad request, which the client gives up on.

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

/// What is to be tried again: a conflict, and a request that S3 calls a bad one because it was slow.
const TRY_AGAIN: [(u16, &[u8]); 2] = [(409, b"ConditionalRequestConflict"), (400, b"<Code>RequestTimeout</Code>")];
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
        let status = parts.status.as_u16();
        if TRY_AGAIN.iter().any(|(of, code)| *of == status && body.windows(code.len()).any(|part| part == *code)) {
            parts.status = BUSY.try_into().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same to every request.
    #[derive(Clone, Copy, Debug)]
    struct Says(u16, &'static str);

    #[async_trait]
    impl HttpService for Says {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let mut parts = HttpResponse::new(String::new().into()).into_parts().0;
            parts.status = self.0.try_into().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
            drop(request);
            Ok(HttpResponse::from_parts(parts, self.1.to_owned().into()))
        }
    }

    #[tokio::test]
    async fn what_s3_says_is_to_be_tried_again_is_the_answer_of_a_busy_server() {
        for (status, body, expected) in [
            (400, "<Error><Code>RequestTimeout</Code><Message>Your socket connection …</Message></Error>", BUSY),
            (400, "<Error><Code>InvalidArgument</Code><Message>RequestTimeout</Message></Error>", 400),
            (409, "<Error><Code>ConditionalRequestConflict</Code></Error>", BUSY),
            (409, "<Error><Code>OperationAborted</Code></Error>", 409),
            (404, "<Error><Code>RequestTimeout</Code></Error>", 404),
        ] {
            let response =
                Whole(HttpClient::new(Says(status, body))).call(HttpRequest::new(String::new().into())).await.expect("a response");
            assert_eq!(response.status().as_u16(), expected, "{body}");
        }
    }
}
