//! What somebody may have meant who mistyped a name: the nearest one of those that there are. Pure.

/// The name that is nearest to a word, if one is near enough to be meant: a letter in three wrong, missing, too many or swapped with the next;
/// or the only one that begins with it. Of equally near ones the first.
pub fn meant<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = word.to_lowercase().chars().collect();
    if wanted.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().filter(|name| *name != word).collect();
    let most = (wanted.len() / 3).max(1);
    let near = names.iter().map(|name| (distance(&wanted, &name.to_lowercase().chars().collect::<Vec<_>>()), *name));
    // Of a word of one letter or two everything as short would be near.
    let near = near.filter(|(distance, _)| *distance <= most && *distance < wanted.len()).min_by_key(|(distance, _)| *distance);
    let mut begun = names.iter().filter(|name| wanted.len() > 2 && name.starts_with(word));
    near.map(|(_, name)| name).or_else(|| begun.next().copied().filter(|_| begun.next().is_none()))
}

/// `; did you mean "api"?`, to stand behind what is wrong; nothing if nothing is near.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    meant(word, names).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
            let swapped = i.checked_sub(1).zip(j.checked_sub(1)).filter(|(p, q)| a.get(*p) == Some(y) && b.get(*q) == Some(x));
            let fewest = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            row.push(swapped.map_or(fewest, |(_, q)| fewest.min(at(&before, q) + 1)));
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant_if_it_is_near() {
        let names = ["api", "web", "frontend", "worker", "replicas", "readinessProbe"];
        for (word, expected) in [
            ("apii", Some("api")),
            ("ap", Some("api")),
            ("ipa", None),
            ("aip", Some("api")),
            ("wep", Some("web")),
            ("fronted", Some("frontend")),
            ("front", Some("frontend")),
            ("replcas", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("readynessprobe", Some("readinessProbe")),
            ("database", None),
            ("x", None),
            ("", None),
            ("api", None),
        ] {
            assert_eq!(meant(word, names), expected, "{word}");
        }
        assert_eq!(meant("wo", ["worker", "world"]), None);
        assert_eq!(did_you_mean("wep", names), "; did you mean \"web\"?");
        assert_eq!(did_you_mean("database", names), "");
    }
}
