//! What the CEL rules of a definition may cost at the most, estimated from the bounds in its schema as kube-apiserver does: a rule that loops over lists
//! without `maxItems` inside each other is refused when it is declared, and not when it has held the API up for a minute.
//!
//! The unit is a step of the evaluation. Sizes that nothing bounds are those that fit into the largest request.
use kube_cel::cel::{
    Program,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr},
};
use serde_json::Value;

use super::{FieldError, error::join};

const RULES: &str = "x-kubernetes-validations";
/// Kubernetes' limits of one rule, however often it is evaluated for one object, and of all rules of a schema.
const RULE_LIMIT: u64 = 10_000_000;
const TOTAL_LIMIT: u64 = 100_000_000;
/// The bytes of the largest request.
const REQUEST: u64 = 3 << 20;
/// String functions look at this many characters in a step.
const CHARACTERS: u64 = 10;

/// What is too dear in a schema, by its place.
pub(crate) fn check(schema: &Value) -> Vec<FieldError> {
    let (mut errors, mut total) = (Vec::new(), 0_u64);
    each(schema, "", 1, &mut |place, cost| {
        total = total.saturating_add(cost);
        if cost > RULE_LIMIT {
            errors.push(too_dear(place, "estimated rule cost exceeds budget", cost, RULE_LIMIT));
        }
    });
    if errors.is_empty() && total > TOTAL_LIMIT {
        errors.push(too_dear("", "estimated cost of all rules together exceeds budget", total, TOTAL_LIMIT));
    }
    errors
}

/// What all rules of a schema may cost for one object.
pub(crate) fn total(schema: &Value) -> u64 {
    let mut total = 0_u64;
    each(schema, "", 1, &mut |_, cost| total = total.saturating_add(cost));
    total
}

fn too_dear(place: &str, what: &str, cost: u64, limit: u64) -> FieldError {
    let factor = cost.div_ceil(limit);
    let why = format!(
        "{what} by factor of {factor}x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    );
    FieldError::forbidden(place, &why)
}

/// Tells of each rule in a node and below: its place, and what it costs as often as the node can be there.
fn each(node: &Value, path: &str, times: u64, tell: &mut dyn FnMut(&str, u64)) {
    for (index, rule) in node.get(RULES).and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(rule) = rule.get("rule").and_then(Value::as_str) else { continue };
        // What does not compile is said elsewhere.
        let Ok(program) = Program::compile(rule) else { continue };
        let mut scope = Scope(vec![("self".to_owned(), Some(node)), ("oldSelf".to_owned(), Some(node))]);
        let cost = scope.cost(&program.expression().expr);
        tell(&join(path, &format!("{RULES}[{index}].rule")), cost.saturating_mul(times));
    }
    for (name, child) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(child, &join(path, &format!("properties[{name}]")), times, tell);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child) = node.get(keyword).filter(|child| child.is_object()) {
            each(child, &join(path, keyword), times.saturating_mul(bound(node)), tell);
        }
    }
}

/// The variables, and the schemas of those that have one.
struct Scope<'a>(Vec<(String, Option<&'a Value>)>);

impl<'a> Scope<'a> {
    fn cost(&mut self, expression: &Expr) -> u64 {
        match expression {
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(call),
            Expr::Select(select) => self.cost(&select.operand.expr).saturating_add(1),
            Expr::List(list) => list.elements.iter().fold(1, |sum: u64, element| sum.saturating_add(self.cost(&element.expr))),
            Expr::Map(map) => map.entries.iter().fold(1, |sum: u64, entry| sum.saturating_add(self.entry(&entry.expr))),
            Expr::Struct(object) => object.entries.iter().fold(1, |sum: u64, entry| sum.saturating_add(self.entry(&entry.expr))),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => 1,
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> u64 {
        match entry {
            EntryExpr::StructField(field) => self.cost(&field.value.expr),
            EntryExpr::MapEntry(entry) => self.cost(&entry.key.expr).saturating_add(self.cost(&entry.value.expr)),
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> u64 {
        let before = self.cost(&comprehension.iter_range.expr).saturating_add(self.cost(&comprehension.accu_init.expr));
        let (rounds, item) = (self.size(&comprehension.iter_range.expr), self.item(&comprehension.iter_range.expr));
        let outside = self.0.len();
        match &comprehension.iter_var2 {
            Some(value) => self.0.extend([(comprehension.iter_var.clone(), None), (value.clone(), item)]),
            None => self.0.push((comprehension.iter_var.clone(), item)),
        }
        self.0.push((comprehension.accu_var.clone(), None));
        let round = self.cost(&comprehension.loop_cond.expr).saturating_add(self.cost(&comprehension.loop_step.expr));
        let after = self.cost(&comprehension.result.expr);
        self.0.truncate(outside);
        before.saturating_add(rounds.saturating_mul(round)).saturating_add(after)
    }

    fn call(&mut self, call: &CallExpr) -> u64 {
        let operands: Vec<&Expr> =
            call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|argument| &argument.expr)).collect();
        let work = match call.func_name.as_str() {
            "contains" | "startsWith" | "endsWith" | "matches" | "find" | "findAll" | "replace" | "split" | "indexOf" | "lastIndexOf"
            | "lowerAscii" | "upperAscii" | "trim" | "reverse" => operands.first().map_or(1, |text| self.size(text)) / CHARACTERS,
            "@in" => operands.last().map_or(1, |list| self.size(list)),
            "isSorted" | "sum" | "min" | "max" | "join" | "sets.contains" | "sets.equivalent" | "sets.intersects" => {
                operands.iter().fold(1, |product: u64, list| product.saturating_mul(self.size(list)))
            }
            _ => 0,
        };
        operands.into_iter().fold(work.saturating_add(1), |sum, operand| sum.saturating_add(self.cost(operand)))
    }

    /// How many items, or characters, a value can have.
    fn size(&self, expression: &Expr) -> u64 {
        match expression {
            Expr::List(list) => list.elements.len() as u64,
            Expr::Map(map) => map.entries.len() as u64,
            // filter and map
            Expr::Comprehension(comprehension) => self.size(&comprehension.iter_range.expr),
            Expr::Literal(_) => 1,
            other => match (self.schema(other), other) {
                (Some(schema), _) => bound(schema),
                // What a function makes has as much as what it was made from: split, keys.
                (None, Expr::Call(call)) => {
                    let from = call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|argument| &argument.expr));
                    from.map(|from| self.size(from)).max().unwrap_or(REQUEST)
                }
                (None, _) => REQUEST,
            },
        }
    }

    /// The schema of what a loop over a value sees: an item of a list, the value of a map.
    fn item(&self, range: &Expr) -> Option<&'a Value> {
        let from = match range {
            Expr::Comprehension(comprehension) => return self.item(&comprehension.iter_range.expr),
            other => self.schema(other)?,
        };
        below(from)
    }

    fn schema(&self, expression: &Expr) -> Option<&'a Value> {
        match expression {
            Expr::Ident(name) => self.0.iter().rev().find(|(known, _)| known == name)?.1,
            Expr::Select(select) => {
                let from = self.schema(&select.operand.expr)?;
                from.pointer("/properties")
                    .and_then(|properties| properties.get(&select.field))
                    .or_else(|| from.get("additionalProperties"))
            }
            Expr::Call(call) if call.func_name == "_[_]" => below(self.schema(&call.args.first()?.expr)?),
            _ => None,
        }
    }
}

fn below(schema: &Value) -> Option<&Value> {
    schema.get("items").or_else(|| schema.get("additionalProperties")).filter(|below| below.is_object())
}

/// How many items, entries or characters a value of this schema can have.
fn bound(schema: &Value) -> u64 {
    let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => limit("maxItems").unwrap_or_else(|| REQUEST / (schema.get("items").map_or(1, least_bytes) + 1)),
        Some("object") => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => properties.len() as u64,
            // "":null,
            None => limit("maxProperties").unwrap_or_else(|| REQUEST / (schema.get("additionalProperties").map_or(1, least_bytes) + 4)),
        },
        Some("string") => limit("maxLength").unwrap_or(REQUEST),
        Some(_) => 1,
        None if schema.get("x-kubernetes-int-or-string").is_some() => limit("maxLength").unwrap_or(REQUEST),
        None => REQUEST,
    }
}

/// The bytes of the shortest JSON of a schema.
fn least_bytes(schema: &Value) -> u64 {
    match schema.get("type").and_then(Value::as_str) {
        Some("array" | "string") => 2,
        Some("boolean") => 4,
        Some("object") => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let property = |name: &str| schema.pointer("/properties").and_then(|all| all.get(name)).map_or(1, least_bytes);
            required.fold(2, |sum, name| sum + name.len() as u64 + 4 + property(name))
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Three lists inside each other, each with this bound.
    fn nested(bound: Option<u64>, rule: &str) -> Value {
        let list = |items: Value| {
            let mut list = json!({"type": "array", "items": items});
            if let Some(bound) = bound {
                list["maxItems"] = bound.into();
            }
            list
        };
        let leaf = list(json!({"type": "integer"}));
        let schema = list(json!({"type": "object", "properties": {"b": list(json!({"type": "object", "properties": {"c": leaf}}))}}));
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": schema}, RULES: [{"rule": rule}]}}})
    }

    fn refused(schema: &Value) -> Vec<String> {
        check(schema).into_iter().map(|error| error.to_string()).collect()
    }

    const THREE: &str = "self.a.all(x, self.a.all(y, self.a.all(z, x != y || y != z)))";

    #[test]
    fn loops_inside_each_other_over_what_nothing_bounds_are_refused_where_they_are_declared() {
        let found = refused(&nested(None, THREE));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with(
                "properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of "
            )
        );
        // Four hundred items are little, sixty-four million rounds are not.
        assert_eq!(refused(&nested(Some(400), THREE)).len(), 1);
        assert_eq!(refused(&nested(Some(20), THREE)), Vec::<String>::new());
    }

    #[test]
    fn one_loop_over_a_list_of_any_length_is_taken() {
        assert_eq!(refused(&nested(None, "self.a.all(x, x.b.size() < 3)")), Vec::<String>::new());
        assert_eq!(refused(&nested(None, "self.a.filter(x, has(x.b)).size() < 5")), Vec::<String>::new());
        assert_eq!(refused(&nested(Some(100), "self.a.all(x, x.b.all(y, y.c.exists(z, z > 1)))")), Vec::<String>::new());
    }

    #[test]
    fn a_rule_costs_as_often_as_its_place_can_be_there() {
        let rule = "self.all(x, x.size() < 3)";
        let inner = |bound: u64| json!({"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": bound}, RULES: [{"rule": rule}]});
        let outer = |bound: u64| json!({"type": "array", "maxItems": bound, "items": inner(10)});
        assert_eq!(refused(&outer(10)), Vec::<String>::new());
        assert_eq!(refused(&outer(100_000)).len(), 1);
        assert!(total(&outer(10)) > total(&inner(10)) * 9);
    }

    #[test]
    fn what_does_not_compile_is_not_judged_here() {
        assert_eq!(total(&json!({"type": "object", RULES: [{"rule": "self.("}]})), 0);
    }
}
