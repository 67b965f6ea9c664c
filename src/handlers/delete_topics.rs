//! DeleteTopics (key 20), versions 1 to 6.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Client, errors};
use crate::controller::{Image, RefusedReason, TopicRef};
use crate::model::TopicId;
use crate::protocol::messages::delete_topics_response::DeletableTopicResult;
use crate::protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DeleteTopics, 1, 6);

/// The first version that names topics by their ids.
const IDS_FROM: i16 = 6;
/// The first version that knows TOPIC_DELETION_DISABLED.
const DISABLED_CODE_FROM: i16 = 3;

/// A topic as a request names it.
type Asked = (Option<StrBytes>, TopicId);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let asked: Vec<Asked> = match version >= IDS_FROM {
        true => request
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), TopicId::from(topic.topic_id)))
            .collect(),
        false => request
            .topic_names
            .iter()
            .map(|name| (Some(name.clone()), TopicId::ZERO))
            .collect(),
    };
    let mut response = DeleteTopicsResponse::default();
    let (wanted, refused) = client.shard.with_image(|image| split(&asked, image));
    response.responses = refused;
    let topics = wanted.iter().map(|(_, topic)| topic.clone()).collect();
    let results = client.shard.delete_topics(topics).await;
    for (((name, id), _), result) in wanted.into_iter().zip(results) {
        response.responses.push(match result {
            Ok(topic) => {
                let mut answer = DeletableTopicResult::default();
                answer.name = Some(StrBytes::from(topic.name.to_string()));
                answer.topic_id = topic.id.into();
                answer.error_message = None;
                answer
            }
            Err(refused) => {
                let error = match refused.reason {
                    RefusedReason::DeletionDisabled if version < DISABLED_CODE_FROM => {
                        ErrorCode::InvalidRequest
                    }
                    reason => errors::of_refused(reason),
                };
                failed(name, id, error, &refused.message)
            }
        });
    }
    response
}

/// The topics that may be asked of the controller, and the answers for those that may not: named
/// by both or none of name and id, or twice in one way or the other.
#[allow(clippy::type_complexity)]
fn split(asked: &[Asked], image: &Image) -> (Vec<(Asked, TopicRef)>, Vec<DeletableTopicResult>) {
    let mut counts: HashMap<&Asked, usize> = HashMap::new();
    for topic in asked {
        *counts.entry(topic).or_default() += 1;
    }
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    // A topic that was named both ways is deleted once.
    let mut named_ids = HashSet::new();
    for topic in asked {
        let Some(count) = counts.remove(topic) else {
            continue;
        };
        let (name, id) = topic.clone();
        let mut refuse = |message: &str| {
            let code = ErrorCode::InvalidRequest;
            refused.push(failed(name.clone(), id, code, message));
        };
        let reference = match (&name, id.is_zero()) {
            (Some(_), false) => {
                refuse("You may not specify both topic name and topic id.");
                continue;
            }
            (None, true) => {
                refuse("Neither topic name nor id were specified.");
                continue;
            }
            (Some(_), true) if count > 1 => {
                refuse("Duplicate topic name.");
                continue;
            }
            (None, false) if count > 1 => {
                refuse("Duplicate topic id.");
                continue;
            }
            (Some(name), true) => TopicRef::Name(name.as_str().to_owned()),
            (None, false) => TopicRef::Id(id),
        };
        let found = match &reference {
            TopicRef::Name(name) => image.topic_by_name(name).map(|topic| topic.id),
            TopicRef::Id(id) => Some(*id),
        };
        match found {
            Some(found) if !named_ids.insert(found) => {
                refuse("The provided topic name maps to an ID that was already supplied.");
            }
            Some(_) | None => wanted.push(((name, id), reference)),
        }
    }
    (wanted, refused)
}

fn failed(
    name: Option<StrBytes>,
    id: TopicId,
    error: ErrorCode,
    message: &str,
) -> DeletableTopicResult {
    let mut answer = DeletableTopicResult::default();
    answer.name = name;
    answer.topic_id = id.into();
    answer.error_code = error.code();
    answer.error_message = Some(StrBytes::from(message));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TopicId = TopicId([7; 16]);

    fn check(asked: &[(Option<&str>, TopicId)], wanted: &[TopicRef], messages: &[&str]) {
        let asked: Vec<Asked> = asked
            .iter()
            .map(|(name, id)| (name.map(StrBytes::from), *id))
            .collect();
        let (found, refused) = split(&asked, &Image::default());
        let found: Vec<_> = found.into_iter().map(|(_, topic)| topic).collect();
        assert_eq!(found, wanted, "{asked:?}");
        let refused: Vec<_> = refused
            .iter()
            .filter_map(|answer| Some(answer.error_message.as_ref()?.as_str()))
            .collect();
        assert_eq!(refused, messages, "{asked:?}");
    }

    #[test]
    fn topics_are_named_once_in_one_of_two_ways() {
        let name = TopicRef::Name("a".to_owned());
        check(
            &[(Some("a"), TopicId::ZERO)],
            std::slice::from_ref(&name),
            &[],
        );
        check(&[(None, ID)], &[TopicRef::Id(ID)], &[]);
        check(
            &[(Some("a"), ID)],
            &[],
            &["You may not specify both topic name and topic id."],
        );
        check(
            &[(None, TopicId::ZERO)],
            &[],
            &["Neither topic name nor id were specified."],
        );
        let twice = [(Some("a"), TopicId::ZERO), (Some("a"), TopicId::ZERO)];
        check(&twice, &[], &["Duplicate topic name."]);
        check(&[(None, ID), (None, ID)], &[], &["Duplicate topic id."]);
    }
}
