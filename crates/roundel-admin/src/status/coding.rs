//! How types of other crates are written in JSON.

/// A [`roundel_model::ServerState`] as its lower-case word.
pub(super) mod state {
    use roundel_model::ServerState;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::status) fn serialize<S: Serializer>(
        state: &ServerState,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(in crate::status) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ServerState, D::Error> {
        let word = String::deserialize(from)?;
        ServerState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| D::Error::custom(format!("{word:?} is not a server state")))
    }
}

/// A [`roundel_model::AdminState`] as its lower-case word.
pub(super) mod admin {
    use roundel_model::AdminState;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::status) fn serialize<S: Serializer>(
        state: &AdminState,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(in crate::status) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<AdminState, D::Error> {
        let word = String::deserialize(from)?;
        crate::acts::admin_state(&word)
            .ok_or_else(|| D::Error::custom(format!("{word:?} is no order")))
    }
}

/// A [`roundel_stats::HistogramSnapshot`] as its counts per bucket and the sum.
pub(super) mod histogram {
    use roundel_stats::HistogramSnapshot;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Plain {
        buckets: [u64; 15],
        sum_us: u64,
    }

    pub(in crate::status) fn serialize<S: Serializer>(
        histogram: &HistogramSnapshot,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let (buckets, sum_us) = (histogram.buckets, histogram.sum_us);
        Plain { buckets, sum_us }.serialize(to)
    }

    pub(in crate::status) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<HistogramSnapshot, D::Error> {
        let Plain { buckets, sum_us } = Plain::deserialize(from)?;
        Ok(HistogramSnapshot { buckets, sum_us })
    }
}
