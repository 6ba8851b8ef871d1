//! Declares the types of a protocol as its `.x` file spells them: `struct`, `enum`, `union`, opaques.
//!
//! Callers: the protocols' modules.

/// `struct`: the fields one after the other.
macro_rules! xdr_struct {
    ($(#[$meta:meta])* pub struct $name:ident<$lt:lifetime> { $($(#[$doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<$lt> { $($(#[$doc])* pub $field: $ty,)* }
        xdr_struct!(@both $lt, $name<$lt>, $name<'_>, $name<'static>, $($field)*);
    };
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }
        xdr_struct!(@both 'a, $name, $name, $name, $($field)*);
    };
    (@both $lt:lifetime, $read:ty, $written:ty, $sampled:ty, $($field:ident)*) => {
        impl<$lt> $crate::xdr::Decode<$lt> for $read {
            #[inline]
            fn decode(r: &mut $crate::xdr::Reader<$lt>) -> $crate::xdr::Result<Self> {
                Ok(Self { $($field: r.decode()?,)* })
            }
        }

        impl $crate::xdr::Encode for $written {
            #[inline]
            fn encode(&self, w: &mut $crate::xdr::Writer<'_>) {
                $(w.encode(&self.$field);)*
            }
        }

        #[cfg(test)]
        impl $crate::tests::Sample for $sampled {
            fn sample(dice: &mut $crate::tests::Dice) -> Self {
                Self { $($field: dice.sample(),)* }
            }
        }
    };
}

/// `enum`: a number of a known set, each with its name as the RFC spells it.
macro_rules! xdr_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $arm:ident = $value:literal $rfc:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $($(#[$doc])* $arm = $value,)* }

        impl $name {
            /// Every value, in the order of the RFC.
            pub const ALL: [Self; [$($value),*].len()] = [$(Self::$arm),*];

            /// The name as the RFC spells it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$arm => $rfc,)* }
            }
        }

        impl TryFrom<u32> for $name {
            type Error = $crate::xdr::Malformed;

            #[inline]
            fn try_from(value: u32) -> $crate::xdr::Result<Self> {
                match value {
                    $($value => Ok(Self::$arm),)*
                    value => Err($crate::xdr::Malformed::BadDiscriminant { of: stringify!($name), value }),
                }
            }
        }

        impl $crate::xdr::Decode<'_> for $name {
            #[inline]
            fn decode(r: &mut $crate::xdr::Reader<'_>) -> $crate::xdr::Result<Self> {
                r.u32()?.try_into()
            }
        }

        impl $crate::xdr::Encode for $name {
            #[inline]
            fn encode(&self, w: &mut $crate::xdr::Writer<'_>) {
                w.u32(*self as u32);
            }
        }

        #[cfg(test)]
        impl $crate::tests::Sample for $name {
            fn sample(dice: &mut $crate::tests::Dice) -> Self {
                Self::ALL[dice.below(Self::ALL.len())]
            }
        }
    };
}

/// `union`: a number that says which arm follows. An arm without a type is void.
macro_rules! xdr_union {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $arm:ident$(($ty:ty))? = $value:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $arm$(($ty))?,)* }

        impl $crate::xdr::Decode<'_> for $name {
            #[inline]
            fn decode(r: &mut $crate::xdr::Reader<'_>) -> $crate::xdr::Result<Self> {
                let value = r.u32()?;
                $(if value == $value as u32 { return Ok(Self::$arm$((r.decode::<$ty>()?))?); })*
                Err($crate::xdr::Malformed::BadDiscriminant { of: stringify!($name), value })
            }
        }

        impl $crate::xdr::Encode for $name {
            #[inline]
            fn encode(&self, w: &mut $crate::xdr::Writer<'_>) {
                match self {
                    $(Self::$arm$((xdr_union!(@bind $ty, body)))? => {
                        w.u32($value as u32);
                        $(w.encode::<$ty>(body);)?
                    })*
                }
            }
        }

        #[cfg(test)]
        impl $crate::tests::Sample for $name {
            fn sample(dice: &mut $crate::tests::Dice) -> Self {
                let arms: &[fn(&mut $crate::tests::Dice) -> Self] =
                    &[$(|_dice| Self::$arm$((_dice.sample::<$ty>()))?,)*];
                arms[dice.below(arms.len())](dice)
            }
        }
    };
    (@bind $ty:ty, $body:ident) => { $body };
}

/// A type of its own over variable-length bytes with a maximum: `typedef opaque name<MAX>`.
macro_rules! xdr_bytes {
    ($(#[$meta:meta])* pub struct $name:ident<$max:ident>) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name<'a>($crate::xdr::Opaque<'a, { $max }>);

        impl<'a> $name<'a> {
            /// Refused when longer than the maximum of the type.
            #[inline]
            pub fn new(bytes: &'a [u8]) -> $crate::xdr::Result<Self> {
                $crate::xdr::Opaque::new(bytes).map(Self)
            }

            /// The bytes, for as long as the frame lives.
            #[inline]
            pub fn bytes(self) -> &'a [u8] {
                self.0.bytes()
            }
        }

        impl std::ops::Deref for $name<'_> {
            type Target = [u8];

            #[inline]
            fn deref(&self) -> &[u8] {
                &self.0
            }
        }

        impl<'a> $crate::xdr::Decode<'a> for $name<'a> {
            #[inline]
            fn decode(r: &mut $crate::xdr::Reader<'a>) -> $crate::xdr::Result<Self> {
                r.decode().map(Self)
            }
        }

        impl $crate::xdr::Encode for $name<'_> {
            #[inline]
            fn encode(&self, w: &mut $crate::xdr::Writer<'_>) {
                w.encode(&self.0);
            }
        }

        #[cfg(test)]
        impl $crate::tests::Sample for $name<'static> {
            fn sample(dice: &mut $crate::tests::Dice) -> Self {
                Self(dice.sample())
            }
        }
    };
}

/// A type of its own over a fixed count of bytes: `typedef opaque name[BYTES]`.
macro_rules! xdr_fixed {
    ($(#[$meta:meta])* pub struct $name:ident[$bytes:expr]) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $crate::xdr::Decode<'_> for $name {
            #[inline]
            fn decode(r: &mut $crate::xdr::Reader<'_>) -> $crate::xdr::Result<Self> {
                r.decode().map(Self)
            }
        }

        impl $crate::xdr::Encode for $name {
            #[inline]
            fn encode(&self, w: &mut $crate::xdr::Writer<'_>) {
                w.encode(&self.0);
            }
        }

        #[cfg(test)]
        impl $crate::tests::Sample for $name {
            fn sample(dice: &mut $crate::tests::Dice) -> Self {
                Self(dice.sample())
            }
        }
    };
}
