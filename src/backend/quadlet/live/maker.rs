//! Who made a unit file: its header and its label say which controller, `X-MeshStateDir=` where that has its state directory, so that it is known when
//! it is gone. Quadlet and systemd read neither, and Podman is told the id only: nobody takes a container of systemd's for one of the engine's. Pure.
use crate::quadlet::{
    header,
    keys::{Key, unit as about},
    parse,
    unit::{Refused, Unit},
};
use mesh_api::labels;

/// A controller, or a set of `mesh quadlet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maker {
    /// Its id, or the name of the set.
    pub(crate) controller: String,
    /// The place of its state directory. None of a set, and of units that are older than this line in them.
    pub(crate) state_dir: Option<String>,
}

impl Maker {
    /// Whoever made a file with that text; none if it was not made here.
    pub(super) fn of(text: &str) -> Option<Self> {
        let controller = header::set(text)?.to_owned();
        let state_dir = parse::unit(text).ok().and_then(|unit| unit.last_text(about::STATE_DIR).map(ToOwned::to_owned));
        Some(Self { controller, state_dir })
    }

    /// Writes itself into a unit; `label` is the key that labels what the unit is of.
    pub(super) fn sign(&self, unit: &mut Unit, label: Key) -> Result<(), Refused> {
        unit.add(label, "label", (labels::CONTROLLER, self.controller.as_str()))?;
        match &self.state_dir {
            Some(place) => unit.add(about::STATE_DIR, "--state-dir", place.as_str()),
            None => Ok(()),
        }
    }

    /// What labels of an engine would say.
    pub(super) fn label(&self, name: &str) -> Option<&String> {
        match name {
            labels::CONTROLLER => Some(&self.controller),
            labels::STATE_DIR => self.state_dir.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::keys::{container, network, volume};

    #[test]
    fn a_maker_is_read_as_it_was_written_whatever_the_path() {
        for state_dir in [Some("host:/var/lib/mesh"), Some("host:/home/bob/50% of $it/.mesh"), None] {
            let maker = Maker { controller: "an-id".to_owned(), state_dir: state_dir.map(ToOwned::to_owned) };
            for label in [container::LABEL, network::LABEL, volume::LABEL] {
                let mut unit = Unit::default();
                maker.sign(&mut unit, label).unwrap();
                assert_eq!(Maker::of(&header::add(&unit.text(), "an-id", "MeshService shop/api")), Some(maker.clone()), "{}", unit.text());
            }
        }
        assert_eq!(Maker::of("[Unit]\nX-MeshStateDir=host:/var/lib/mesh\n"), None, "somebody's own");
    }

    #[test]
    fn a_unit_tells_podman_the_id_and_nobody_but_us_the_place() {
        let maker = Maker { controller: "an-id".to_owned(), state_dir: Some("host:/100%".to_owned()) };
        let mut unit = Unit::default();
        maker.sign(&mut unit, container::LABEL).unwrap();
        assert_eq!(unit.text(), "[Unit]\nX-MeshStateDir=host:/100%%\n\n[Container]\nLabel=mesh-controller.dev/controller=an-id\n");
    }
}
