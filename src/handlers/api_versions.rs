//! ApiVersions (key 18), versions 0 to 4.

use std::rc::Rc;

use super::registry::{self, Malformed, Request};
use super::{Client, Reply};
use crate::protocol::api_versions::{
    ApiVersionsRequest, ApiVersionsResponse, unsupported_version_response,
};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::ApiVersions, 0, 4);

/// The first version in which clients name their software.
const SOFTWARE_FROM: i16 = 3;

pub(super) async fn handle(client: Rc<Client>, request: Request) -> Result<Reply, Malformed> {
    let version = request.header.version;
    if !SPEC.serves(version) {
        // The client cannot know the layout of any answer but the oldest (KIP-511).
        let body = unsupported_version_response(&SPEC);
        return Ok(Reply::Now(request.respond(vec![body])?));
    }
    let decoded = ApiVersionsRequest::decode(&request.body, version)?;
    let apis: Vec<ApiSpec> = registry::served().collect();
    let mut response = ApiVersionsResponse::new(&apis);
    // Clients name their software since version 3 (KIP-511).
    if version < SOFTWARE_FROM {
        return Ok(Reply::Now(request.respond(vec![response.encode(version)])?));
    }
    if decoded.has_valid_software() {
        *client.software.borrow_mut() = format!(
            "{} {}",
            decoded.client_software_name.as_str(),
            decoded.client_software_version.as_str()
        );
    } else {
        response = ApiVersionsResponse::new(&[]);
        response.error = ErrorCode::InvalidRequest;
    }
    Ok(Reply::Now(request.respond(vec![response.encode(version)])?))
}
