//! Reads a response that is one JSON document.

use signalbox_types::ResponseKey;

use crate::response::error::ResponseError;
use crate::response::reader::OutputForm;
use crate::response::reader::json_scan::JsonScan;
use crate::response::usage::Usage;

/// Reads a document that arrives in pieces of any size, without buffering it.
#[derive(Debug, Default)]
pub(crate) struct JsonDocumentReader {
    scan: JsonScan,
    has_ended: bool,
}

impl JsonDocumentReader {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.scan.push(piece);
    }

    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Returns the form of the output if the document is complete and is no error.
    pub(crate) fn output(&self) -> Option<OutputForm> {
        let is_output = self.has_ended && self.scan.is_complete() && self.error().is_none();
        is_output.then_some(OutputForm::Document)
    }

    pub(crate) fn error(&self) -> Option<ResponseError> {
        self.scan.document().1
    }

    /// Returns the response that the document is, if it has an id.
    pub(crate) fn response(&self) -> Option<ResponseKey> {
        self.scan.document_response()
    }

    pub(crate) fn usage(&self) -> Usage {
        self.scan.document().0.total()
    }
}
