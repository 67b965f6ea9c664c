//! InitProducerId (key 22), versions 0 to 5.
//!
//! For idempotent producers. A transactional id is refused: transactions are not served yet, and
//! FindCoordinator names no coordinator for them.

use std::rc::Rc;

use super::{Client, errors};
use crate::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::InitProducerId, 0, 5);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: InitProducerIdRequest,
    _version: i16,
) -> InitProducerIdResponse {
    let mut response = InitProducerIdResponse::default();
    response.producer_id = -1;
    response.producer_epoch = -1;
    match &request.transactional_id {
        Some(id) if id.as_str().is_empty() => {
            response.error_code = ErrorCode::InvalidRequest.code();
        }
        // An id goes with its epoch; either alone is a mistake (KIP-360).
        None if (request.producer_id == -1) != (request.producer_epoch == -1) => {
            response.error_code = ErrorCode::InvalidRequest.code();
        }
        Some(_) => response.error_code = ErrorCode::NotCoordinator.code(),
        None => match client.shard.new_producer_id().await {
            Ok(id) => {
                response.producer_id = id;
                response.producer_epoch = 0;
            }
            Err(refused) => response.error_code = errors::of_refused(refused.reason).code(),
        },
    }
    response
}
