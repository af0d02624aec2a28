//! Compose's own tags: `!reset` takes away what an earlier file says, `!override` puts its value in the place of that instead of merging the two. Readers of YAML
//! into values do not tell of tags, so they are looked for among the parser's events: what stands in a text or a comment is no tag.
use granit_parser::{Event, Parser};
use serde_json::Value;

/// A place in a document that one of them stands at. A list is a place as a whole: what stands inside one is not merged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    document: usize,
    path: Vec<String>,
    /// Nothing is to be there; otherwise its own value alone.
    reset: bool,
}

/// What contains the next node.
enum Level {
    Mapping { key: Option<String> },
    Sequence,
}

/// All of them in a text; a text that is no YAML has none, and is refused by who reads it.
pub(super) fn tagged(text: &str) -> Vec<Tagged> {
    let (mut found, mut levels, mut document) = (Vec::new(), Vec::new(), 0_usize);
    for (event, _) in Parser::new_from_str(text).map_while(Result::ok) {
        match &event {
            Event::DocumentEnd => document += 1,
            Event::MappingEnd | Event::SequenceEnd => {
                levels.pop();
                done(&mut levels);
            }
            Event::MappingStart(..) | Event::SequenceStart(..) | Event::Scalar(..) | Event::Alias(..) => {
                // A key is no value yet.
                if let (Some(Level::Mapping { key: key @ None }), Some((text, _))) = (levels.last_mut(), event.scalar()) {
                    *key = Some(text.to_owned());
                    continue;
                }
                let reset = event.tag().filter(|tag| tag.handle() == "!").and_then(|tag| match tag.suffix() {
                    "reset" => Some(true),
                    "override" => Some(false),
                    _ => None,
                });
                if let Some(reset) = reset {
                    found.push(Tagged { document, path: path(&levels), reset });
                }
                match event {
                    Event::MappingStart(..) => levels.push(Level::Mapping { key: None }),
                    Event::SequenceStart(..) => levels.push(Level::Sequence),
                    _ => done(&mut levels),
                }
            }
            _ => {}
        }
    }
    found
}

/// A node has ended: the next one in a mapping is a key.
fn done(levels: &mut [Level]) {
    if let Some(Level::Mapping { key }) = levels.last_mut() {
        *key = None;
    }
}

/// The keys down to where a node stands, as far as mappings go.
fn path(levels: &[Level]) -> Vec<String> {
    levels
        .iter()
        .map_while(|level| match level {
            Level::Mapping { key } => key.clone(),
            Level::Sequence => None,
        })
        .collect()
}

/// Acts upon those of a document that is about to be laid over what earlier ones say.
pub(super) fn act(tagged: &[Tagged], document: usize, earlier: &mut Value, value: &mut Value) {
    for at in tagged.iter().filter(|at| at.document == document) {
        remove(earlier, &at.path);
        if at.reset {
            remove(value, &at.path);
        }
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let place = above.iter().try_fold(value, |value, key| value.get_mut(key));
    if let Some(map) = place.and_then(Value::as_object_mut) {
        map.remove(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_where_it_stands_and_not_in_texts_or_comments() {
        let text = "# !reset\nservices:\n  a:\n    ports: !override\n    - 80:80\n    environment: { A: !reset null, B: '!reset' }\n    command: |\n      say !override this\n    volumes: [!reset x]\n---\nservices: !override\n  b: {}\n";
        let at = |document, path: &str, reset| Tagged { document, path: path.split('.').map(str::to_owned).collect(), reset };
        let expected = [
            at(0, "services.a.ports", false),
            at(0, "services.a.environment.A", true),
            at(0, "services.a.volumes", true),
            at(1, "services", false),
        ];
        assert_eq!(tagged(text), expected);
    }
}
