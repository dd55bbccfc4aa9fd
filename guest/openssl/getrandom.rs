//! A provider for OpenSSL 3 whose random numbers are the kernel's, each time anew (man 2 getrandom).
//!
//! OpenSSL's own generator keeps a state in memory, and every microVM of an image starts with the memory of one snapshot: what was
//! seeded before it would go on the same in all of them. The kernel is reseeded at each restore, so who asks it never repeats.
//! The base images load this by `openssl.cnf` beside it. It needs no C library, so it loads into whatever OpenSSL is linked with.
//! Interface: provider(7), provider-rand(7), openssl/core_dispatch.h.
#![no_std]

use core::arch::asm;
use core::ffi::c_void;
use core::ptr::null;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// OSSL_DISPATCH: a table ends with a function of id 0.
#[repr(C)]
struct Dispatch {
    id: i32,
    function: *const c_void,
}

/// OSSL_ALGORITHM: a table ends without a name.
#[repr(C)]
struct Algorithm {
    names: *const u8,
    properties: *const u8,
    functions: *const Dispatch,
    description: *const u8,
}

/// OSSL_PARAM: a list ends without a key.
#[repr(C)]
struct Param {
    key: *const u8,
    data_type: u32,
    data: *mut c_void,
    data_size: usize,
    return_size: usize,
}

struct Table<T, const N: usize>([T; N]);
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

const OP_RAND: i32 = 5;
/// In bits, as the strongest generators of OpenSSL's own.
const STRENGTH: u64 = 256;
/// EVP_RAND_STATE_READY, the strength, and what one call may ask for (OpenSSL makes several of more).
const CONTEXT_PARAMS: [(&[u8], u64); 3] = [(b"state\0", 1), (b"strength\0", STRENGTH), (b"max_request\0", 1 << 16)];

macro_rules! table {
    ($($id:literal => $function:expr),* $(,)?) => {
        Table([$(Dispatch { id: $id, function: $function as *const c_void },)* Dispatch { id: 0, function: null() }])
    };
}

static PROVIDER: Table<Dispatch, 3> = table! { 1026 => get_params, 1027 => query_operation };
static RAND: Table<Dispatch, 11> = table! {
    1 => new_context,
    2 => free_context,
    3 => instantiate,
    4 => uninstantiate,
    5 => generate,
    6 => reseed,
    8 => always,
    9 => always,
    10 => free_context,
    15 => get_context_params,
};
static ALGORITHMS: Table<Algorithm, 2> = Table([
    Algorithm { names: b"GETRANDOM\0".as_ptr(), properties: b"provider=lull\0".as_ptr(), functions: RAND.0.as_ptr(), description: null() },
    Algorithm { names: null(), properties: null(), functions: null(), description: null() },
]);

/// # Safety
/// Called by OpenSSL, with room for both results.
#[no_mangle]
pub unsafe extern "C" fn OSSL_provider_init(core: *mut c_void, _: *const c_void, functions: *mut *const c_void, context: *mut *mut c_void) -> i32 {
    *functions = PROVIDER.0.as_ptr().cast();
    *context = core;
    1
}

unsafe extern "C" fn query_operation(_: *mut c_void, operation: i32, may_not_cache: *mut i32) -> *const Algorithm {
    *may_not_cache = 0;
    if operation == OP_RAND {
        ALGORITHMS.0.as_ptr()
    } else {
        null()
    }
}

/// Of the provider as a whole there is nothing to tell.
unsafe extern "C" fn get_params(_: *mut c_void, _params: *mut Param) -> i32 {
    1
}

/// There is no state: every generator is the same one, told by any address that is not null.
unsafe extern "C" fn new_context(provider: *mut c_void, _parent: *mut c_void, _calls: *const c_void) -> *mut c_void {
    provider
}

unsafe extern "C" fn free_context(_: *mut c_void) {}

unsafe extern "C" fn instantiate(_: *mut c_void, strength: u32, _resist: i32, _text: *const u8, _length: usize, _params: *const c_void) -> i32 {
    (u64::from(strength) <= STRENGTH) as i32
}

unsafe extern "C" fn uninstantiate(_: *mut c_void) -> i32 {
    1
}

unsafe extern "C" fn generate(_: *mut c_void, to: *mut u8, length: usize, strength: u32, _resist: i32, _text: *const u8, _size: usize) -> i32 {
    (u64::from(strength) <= STRENGTH && fill(to, length)) as i32
}

/// What is added is the kernel's business, which has better.
unsafe extern "C" fn reseed(_: *mut c_void, _resist: i32, _seed: *const u8, _length: usize, _text: *const u8, _size: usize) -> i32 {
    1
}

/// Enables and takes a lock: without state there is nothing to lock.
unsafe extern "C" fn always(_: *mut c_void) -> i32 {
    1
}

unsafe extern "C" fn get_context_params(_: *mut c_void, params: *mut Param) -> i32 {
    let mut at = params;
    while !at.is_null() && !(*at).key.is_null() {
        for (name, value) in CONTEXT_PARAMS {
            if is((*at).key, name) && !set(&mut *at, value) {
                return 0;
            }
        }
        at = at.add(1);
    }
    1
}

/// Whether C's text is this one, which brings its end along.
unsafe fn is(text: *const u8, name: &[u8]) -> bool {
    name.iter().enumerate().all(|(at, &byte)| *text.add(at) == byte)
}

/// Integers come in the sizes of `int` and `size_t` alone. False where there is no room.
unsafe fn set(param: &mut Param, value: u64) -> bool {
    match param.data_size {
        4 => param.data.cast::<u32>().write_unaligned(value as u32),
        8 => param.data.cast::<u64>().write_unaligned(value),
        _ => return false,
    }
    param.return_size = param.data_size;
    true
}

/// True where every byte is the kernel's. It may give less than it was asked for, also when a signal comes.
unsafe fn fill(to: *mut u8, length: usize) -> bool {
    const INTERRUPTED: isize = -4;
    let mut done = 0;
    while done < length {
        match getrandom(to.add(done), length - done) {
            INTERRUPTED => {}
            given if given > 0 => done += given as usize,
            _ => return false,
        }
    }
    true
}

#[cfg(target_arch = "x86_64")]
unsafe fn getrandom(to: *mut u8, length: usize) -> isize {
    let result: isize;
    asm!("syscall", inlateout("rax") 318isize => result, in("rdi") to, in("rsi") length, in("rdx") 0, lateout("rcx") _, lateout("r11") _, options(nostack));
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn getrandom(to: *mut u8, length: usize) -> isize {
    let result: isize;
    asm!("svc 0", in("x8") 278, inlateout("x0") to as isize => result, in("x1") length, in("x2") 0, options(nostack));
    result
}
