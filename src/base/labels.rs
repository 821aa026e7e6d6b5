//! Enumerations whose values are labels of metrics.
//!
//! Owns the macro that declares them, so that a value, its place in the order and its label stand in one
//! line.

/// Declares an enumeration of which each value has a label.
macro_rules! labelled {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$value_meta:meta])* $value:ident = $label:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$value_meta])* $value,)+
        }

        #[allow(dead_code, reason = "of some enumerations, and in some builds, not all of it is asked for")]
        impl $name {
            /// Every value, in the order of declaration.
            $vis const ALL: [Self; [$($label),+].len()] = [$(Self::$value),+];

            /// The labels, in the same order.
            pub(crate) const LABELS: [&'static str; Self::ALL.len()] = [$($label),+];

            /// The value as a metric label.
            #[must_use]
            $vis const fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $label,)+
                }
            }
        }
    };
}
pub(crate) use labelled;
