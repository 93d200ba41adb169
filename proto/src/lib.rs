//! The protocols of a replica: their messages, and the names of headers and metadata keys.
//!
//! Must not know rules or types of the core.

pub mod names;
pub mod peer;

/// Envoy's external processing protocol, as `envoy-types` generates it.
pub mod ext_proc {
    pub use envoy_types::pb::envoy::config::core::v3::{
        HeaderMap, HeaderValue, HeaderValueOption, Metadata, header_value_option::HeaderAppendAction,
    };
    pub use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
    pub use envoy_types::pb::envoy::service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody, HttpHeaders,
        HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
        StreamedBodyResponse, TrailersResponse,
        body_mutation::Mutation,
        external_processor_client::ExternalProcessorClient,
        external_processor_server::{ExternalProcessor, ExternalProcessorServer},
        processing_request::Request,
        processing_response::Response,
    };
    pub use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
    pub use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};
}
