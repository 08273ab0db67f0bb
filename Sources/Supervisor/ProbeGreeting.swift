import Manifest

/// What a probe says first to an instance that expects a header of the PROXY protocol: that it speaks for nobody. A
/// request without it would be taken for a bad header.
enum ProbeGreeting {
    static func bytes(_ version: BalanceSettings.ProxyProtocol?) -> [UInt8] {
        switch version {
        case nil: []
        case .v1: Array("PROXY UNKNOWN\r\n".utf8)
        // The signature, version 2 and LOCAL, no address family, no address.
        case .v2: [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x20, 0x00, 0x00, 0x00]
        }
    }
}
