//! What can go wrong with a network.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// What can go wrong with a network.
#[derive(Debug, Error)]
pub enum NetError {
    /// The host refused what the network's thread needs.
    #[error("cannot start the user network")]
    Start(#[source] io::Error),
    /// A host address for forwarding could not be had.
    #[error("cannot forward host address {address}")]
    Forward {
        /// The address asked for.
        address: SocketAddr,
        /// The host's reason.
        #[source]
        source: io::Error,
    },
    /// The network has no room for a gateway, a name server and a guest.
    #[error("{prefix} address bits leave no room for hosts")]
    Prefix {
        /// Bits of the network part.
        prefix: u8,
    },
}
