//! The `JSONPath` of printer columns: fields, indices, slices of all, and filters. Relative to the object: `.spec.ports[0].port`.
use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Field(String),
    Index(i64),
    All,
    Filter(Filter),
}

/// `[?(@.type=="Ready")]`; without an operator the left side has to be there.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Path,
    test: Option<(Operator, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Path {
    /// `None` for what is not of the subset.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (part, after) = match rest.strip_prefix('[') {
                Some(inner) => parse_bracket(inner)?,
                None => parse_field(rest.strip_prefix('.').unwrap_or(rest))?,
            };
            parts.extend(part);
            rest = after;
        }
        Some(Self(parts))
    }

    /// What the path leads to, in order.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![root], |found, part| found.into_iter().flat_map(|value| part.find(value)).collect())
    }
}

impl Part {
    fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => at(value, *index).into_iter().collect(),
            Self::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter(filter) => value.as_array().into_iter().flatten().filter(|item| filter.fits(item)).collect(),
        }
    }
}

fn at(value: &Value, index: i64) -> Option<&Value> {
    let items = value.as_array()?;
    let place =
        if index < 0 { items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)? } else { usize::try_from(index).ok()? };
    items.get(place)
}

impl Filter {
    fn fits(&self, item: &Value) -> bool {
        let found = self.left.find(item);
        let (Some(left), Some((operator, right))) = (found.first(), &self.test) else { return !found.is_empty() && self.test.is_none() };
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (*left == right).then_some(std::cmp::Ordering::Equal),
        };
        match operator {
            Operator::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Operator::NotEqual => order.is_none_or(std::cmp::Ordering::is_ne),
            Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

/// A field's name up to the next `.` or `[`; a backslash keeps the next character (`app\.kubernetes\.io`).
fn parse_field(text: &str) -> Option<(Option<Part>, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => return Some((named(name), text.get(place..)?)),
            _ => name.push(letter),
        }
    }
    Some((named(name), ""))
}

fn named(name: String) -> Option<Part> {
    match name.as_str() {
        "" => None,
        "*" => Some(Part::All),
        _ => Some(Part::Field(name)),
    }
}

fn parse_bracket(inner: &str) -> Option<(Option<Part>, &str)> {
    let end = closing(inner)?;
    let (inside, rest) = (inner.get(..end)?.trim(), inner.get(end + 1..)?);
    let part = if let Some(filter) = inside.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
        Part::Filter(parse_filter(filter)?)
    } else if inside == "*" || inside == ":" {
        Part::All
    } else if let Some(name) = quoted(inside) {
        Part::Field(name)
    } else {
        Part::Index(inside.parse().ok()?)
    };
    Some((Some(part), rest))
}

/// The place of the bracket that ends this one, outside of quotes and inner brackets.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (place, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(place),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\.", "."))
}

fn parse_filter(filter: &str) -> Option<Filter> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let (left, test) = match OPERATORS.iter().find_map(|(sign, operator)| Some((filter.split_once(sign)?, *operator))) {
        Some(((left, right), operator)) => (left, Some((operator, literal(right.trim())?))),
        None => (filter, None),
    };
    Some(Filter { left: Path::parse(left.trim().strip_prefix('@')?)?, test })
}

fn literal(text: &str) -> Option<Value> {
    quoted(text).map(Value::String).or_else(|| serde_json::from_str(text).ok())
}
