import Glibc

extension SystemError {
    /// ENOENT.
    package static var noSuchFile: Int32 { ENOENT }
    /// ECONNREFUSED.
    package static var connectionRefused: Int32 { ECONNREFUSED }
    /// EACCES.
    package static var accessDenied: Int32 { EACCES }
    /// ENAMETOOLONG.
    package static var nameTooLong: Int32 { ENAMETOOLONG }
    /// EAGAIN.
    package static var tryAgain: Int32 { EAGAIN }
    /// Whether the call failed for want of descriptors or memory, which may be there again later.
    package var isShortage: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }
}
