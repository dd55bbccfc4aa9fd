//! A TCP connection with the application, at 127.0.0.1.

use crate::failure::Failure;
use crate::sys::{self, ffi};
use std::io;
use std::mem::size_of;
use std::os::unix::io::{AsRawFd, OwnedFd};

const AF_INET: i32 = 2;
const SOCK_STREAM: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const SOL_SOCKET: i32 = 1;
const SO_ERROR: i32 = 4;
const SO_LINGER: i32 = 13;
const TCP_NODELAY: i32 = 1;
const SHUT_WR: i32 = 1;
const EINPROGRESS: i32 = 115;
const LOOPBACK_BE: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

pub struct Connection {
    pub socket: OwnedFd,
}

impl Connection {
    /// Begins to connect to a port; [`Connection::finish`] tells how it went.
    pub fn begin(port: u16) -> Result<Connection, Failure> {
        let failed = |error: io::Error| Failure::from_io(&format!("connect to port {}", port), &error);
        let socket = sys::own(unsafe { ffi::socket(AF_INET, SOCK_STREAM | sys::O_NONBLOCK | sys::O_CLOEXEC, 0) }).map_err(failed)?;
        set_option(&socket, IPPROTO_TCP, TCP_NODELAY, &1i32).map_err(failed)?;
        let address = address_of(port);
        let result = unsafe { ffi::connect(socket.as_raw_fd(), &address, size_of::<ffi::SocketAddressV4>() as u32) };
        match sys::check(result) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(failed(error)),
            _ => Ok(Connection { socket }),
        }
    }

    /// Takes one that the application made.
    pub fn accepted(socket: OwnedFd) -> io::Result<Connection> {
        sys::set_nonblocking(socket.as_raw_fd())?;
        set_option(&socket, IPPROTO_TCP, TCP_NODELAY, &1i32)?;
        Ok(Connection { socket })
    }

    /// How [`Connection::begin`] went, once the socket is writable.
    pub fn finish(&self) -> Result<(), Failure> {
        let fd = self.socket.as_raw_fd();
        let (mut error, mut length) = (0i32, 4u32);
        let result = unsafe { ffi::getsockopt(fd, SOL_SOCKET, SO_ERROR, (&mut error as *mut i32).cast(), &mut length) };
        sys::check(result).map_err(|error| Failure::from_io("connect", &error))?;
        if error != 0 {
            return Err(Failure::from_io("connect", &io::Error::from_raw_os_error(error)));
        }
        // With nobody listening on an ephemeral port the kernel may connect a socket to itself.
        let mut local = address_of(0);
        let mut length = size_of::<ffi::SocketAddressV4>() as u32;
        sys::check(unsafe { ffi::getsockname(fd, &mut local, &mut length) }).map_err(|error| Failure::from_io("connect", &error))?;
        if self.is_peer(&local) {
            return Err(Failure::new("ECONNREFUSED", "connect: Connection refused"));
        }
        Ok(())
    }

    /// The host sends no more.
    pub fn shut(&self) {
        unsafe { ffi::shutdown(self.socket.as_raw_fd(), SHUT_WR) };
    }

    /// Ends it so that the application gets an error, not an end of file.
    pub fn reset(self) {
        let _ = set_option(&self.socket, SOL_SOCKET, SO_LINGER, &[1i32, 0]);
    }

    fn is_peer(&self, local: &ffi::SocketAddressV4) -> bool {
        let mut own = address_of(0);
        let mut length = size_of::<ffi::SocketAddressV4>() as u32;
        let result = unsafe { ffi::getpeername(self.socket.as_raw_fd(), &mut own, &mut length) };
        result == 0 && own.port_be == local.port_be && own.address_be == local.address_be
    }
}

fn address_of(port: u16) -> ffi::SocketAddressV4 {
    ffi::SocketAddressV4 { family: AF_INET as u16, port_be: port.to_be(), address_be: LOOPBACK_BE, zero: [0; 8] }
}

fn set_option<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let result = unsafe { ffi::setsockopt(socket.as_raw_fd(), level, name, (value as *const T).cast(), size_of::<T>() as u32) };
    sys::check(result).map(drop)
}
