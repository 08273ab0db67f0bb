import Glibc

/// The errno values (errno(3)) that code above this target tells apart, by what they mean.
package enum ErrorCode {
    /// EPERM.
    package static let notPermitted = EPERM
    /// ENOENT.
    package static let notFound = ENOENT
    /// ESRCH.
    package static let noSuchProcess = ESRCH
    /// E2BIG.
    package static let argumentsTooLong = E2BIG
    /// ENOEXEC.
    package static let notExecutableFormat = ENOEXEC
    /// EAGAIN.
    package static let tryAgain = EAGAIN
    /// ENOMEM.
    package static let outOfMemory = ENOMEM
    /// EISDIR.
    package static let isDirectory = EISDIR
    /// EADDRINUSE.
    package static let addressInUse = EADDRINUSE
    /// EADDRNOTAVAIL.
    package static let addressNotAvailable = EADDRNOTAVAIL
    /// EEXIST.
    package static let exists = EEXIST
    /// ECANCELED.
    package static let canceled = ECANCELED
    /// EACCES.
    package static let accessDenied = EACCES
    /// ENOTDIR.
    package static let notDirectory = ENOTDIR
    /// EINVAL.
    package static let invalid = EINVAL
    /// ENFILE.
    package static let tooManyFilesInSystem = ENFILE
    /// EMFILE.
    package static let tooManyFiles = EMFILE
    /// ETXTBSY.
    package static let textBusy = ETXTBSY
    /// EFBIG.
    package static let fileTooLarge = EFBIG
    /// ECONNREFUSED.
    package static let connectionRefused = ECONNREFUSED
    /// ENOBUFS.
    package static let noBufferSpace = ENOBUFS
    /// ENAMETOOLONG
    package static let nameTooLong = ENAMETOOLONG
}
