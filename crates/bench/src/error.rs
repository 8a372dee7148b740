/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The address is not one this tool can drive.
    #[error("{url} cannot be measured: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server could not be reached or broke off.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server answered something else than the measurement needs, a refusal for example.
    #[error("{doing}: the server answered {answer}")]
    Answer {
        /// What was asked.
        doing: String,
        /// The status and the beginning of the body.
        answer: String,
    },
}

impl BenchError {
    /// For `map_err`: what was tried when the system said no.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }

    pub(crate) fn answer(doing: impl Into<String>, answer: impl Into<String>) -> Self {
        Self::Answer { doing: doing.into(), answer: answer.into() }
    }
}
