//! Mail protocols without I/O.
//!
//! Everything here is a pure function of the octets and answers that come in: no socket, file, clock or thread. A
//! [`Session`] is fed lines and answers and gives back replies and requests; a [`Connection`] cuts the lines and
//! keeps the replies until they are sent. Whoever drives a connection does what [`Connection::todo`] says.
//!
//! ```
//! use pillarbox_proto::{Connection, Todo, echo};
//!
//! let mut connection = Connection::new(echo::Session::new("A. Uthor / author"));
//! assert!(matches!(connection.todo(), Todo::Send(greeting) if greeting.starts_with(b"+OK Server ready")));
//! connection.received(b"ECHO  two  spaces\r\n");
//! assert!(matches!(connection.todo(), Todo::Send(reply) if reply == b"+OK  two  spaces\r\n"));
//! assert!(matches!(connection.todo(), Todo::Receive));
//! ```

pub mod address;
pub mod client;
pub mod connection;
pub mod data;
pub mod echo;
pub mod lines;
pub mod pop3;
pub mod replies;
pub mod session;
pub mod shown;
pub mod smtp;

pub use address::{Address, AddressError, Envelope, ReversePath};
pub use connection::{Connection, Todo};
pub use lines::Line;
pub use replies::{Entry, Replies};
pub use session::{Session, Step};
pub use shown::shown;
