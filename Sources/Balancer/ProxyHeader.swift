import CPlatform

/// The header of the PROXY protocol, versions 1 and 2: who the client is, said before its first byte.
///
/// Functions on bytes alone. The specification: https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
enum ProxyHeader {
    /// What some first bytes of a connection are.
    enum Reading: Equatable {
        /// The beginning of a header.
        case incomplete
        /// Not, or no longer, the beginning of a header.
        case invalid
        /// A header of so many bytes. Without addresses (LOCAL, UNKNOWN, other families) both are none, and the real ones
        /// hold.
        case header(length: Int, source: ClientAddress, destination: ClientAddress)
    }

    /// The versions, as the manifest names them.
    enum Version: UInt8 {
        case v1 = 1
        case v2 = 2
    }

    /// The longest line of version 1, with its end.
    static let longestLine = 107
    /// The most that may follow the 16 fixed bytes of version 2; the addresses of any family take 216 at most, the rest
    /// are extensions, which are passed over.
    static let longestTail = 4096
    /// The longest header that is read.
    static let longest = 16 + longestTail
    /// The longest header that is written.
    static let longestWritten = longestLine

    // Static: arrays and strings would be counted references for every connection.
    private static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
    private static let opening: StaticString = "PROXY "
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let lineFeed = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")

    // MARK: Reading

    /// Looks at the first bytes of a connection; more than the header may be there.
    static func read(_ bytes: UnsafeRawBufferPointer) -> Reading {
        guard let first = bytes.first else { return .incomplete }
        return first == carriageReturn ? readBinary(bytes) : readLine(bytes)
    }

    /// Whether bytes begin with a text, as far as they go.
    private static func agree(_ bytes: some Collection<UInt8>, with text: StaticString) -> Bool {
        zip(bytes, UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)).allSatisfy { $0 == $1 }
    }

    private static func readBinary(_ bytes: UnsafeRawBufferPointer) -> Reading {
        guard agree(bytes, with: signature) else { return .invalid }
        if bytes.count > 12 {
            guard bytes[12] == 0x20 || bytes[12] == 0x21 else { return .invalid }
        }
        // Of LOCAL the family means nothing, whatever it is.
        if bytes.count > 13, bytes[12] == 0x21 {
            guard bytes[13] >> 4 <= 3, bytes[13] & 15 <= 2 else { return .invalid }
        }
        guard bytes.count >= 16 else { return .incomplete }
        let tail = Int(bytes[14]) << 8 | Int(bytes[15])
        guard tail <= longestTail else { return .invalid }
        let isLocal = bytes[12] == 0x20
        // Of the families over stream sockets two have addresses of ours.
        let needed = isLocal ? 0 : bytes[13] == 0x11 ? 12 : bytes[13] == 0x21 ? 36 : bytes[13] >> 4 == 3 ? 216 : 0
        guard tail >= needed else { return .invalid }
        guard bytes.count >= 16 + tail else { return .incomplete }
        let number = { (offset: Int, size: Int) -> UInt64 in
            (offset..<offset + size).reduce(0) { $0 << 8 | UInt64(bytes[$1]) }
        }
        let port = { (offset: Int) in UInt16(truncatingIfNeeded: number(offset, 2)) }
        var source = ClientAddress.none
        var destination = ClientAddress.none
        if needed == 12 {
            source = ClientAddress(ipv4: UInt32(truncatingIfNeeded: number(16, 4)), port: port(24))
            destination = ClientAddress(ipv4: UInt32(truncatingIfNeeded: number(20, 4)), port: port(26))
        } else if needed == 36 {
            source = ClientAddress(ipv6: number(16, 8), number(24, 8), port: port(48))
            destination = ClientAddress(ipv6: number(32, 8), number(40, 8), port: port(50))
        }
        return .header(length: 16 + tail, source: source, destination: destination)
    }

    private static func readLine(_ bytes: UnsafeRawBufferPointer) -> Reading {
        guard agree(bytes, with: opening) else { return .invalid }
        guard let end = bytes.prefix(longestLine - 1).firstIndex(of: carriageReturn) else {
            return bytes.count < longestLine - 1 ? .incomplete : .invalid
        }
        guard end + 1 < bytes.count else { return .incomplete }
        guard bytes[end + 1] == lineFeed else { return .invalid }
        var fields = Fields(bytes: bytes, position: opening.utf8CodeUnitCount, end: end)
        guard let family = fields.next() else { return .invalid }
        // Beyond the word UNKNOWN anything may follow.
        if family.count == 7, agree(family, with: "UNKNOWN") {
            return .header(length: end + 2, source: .none, destination: .none)
        }
        let isIPv6 = family.count == 4 && agree(family, with: "TCP6")
        guard isIPv6 || family.count == 4 && agree(family, with: "TCP4"),
            let sourceText = fields.next(), let destinationText = fields.next(),
            let sourcePort = fields.next().flatMap(port), let destinationPort = fields.next().flatMap(port),
            fields.isOver,
            let source = address(sourceText, isIPv6: isIPv6, port: sourcePort),
            let destination = address(destinationText, isIPv6: isIPv6, port: destinationPort)
        else { return .invalid }
        return .header(length: end + 2, source: source, destination: destination)
    }

    /// The fields of a line, with one space between them.
    private struct Fields {
        let bytes: UnsafeRawBufferPointer
        /// Where the next one begins; beyond `end`: there is none.
        var position: Int
        let end: Int

        var isOver: Bool { position > end }

        /// The next one, which may be empty.
        mutating func next() -> Slice<UnsafeRawBufferPointer>? {
            guard position <= end else { return nil }
            let begin = position
            while position < end, bytes[position] != ProxyHeader.space { position += 1 }
            defer { position += 1 }
            return bytes[begin..<position]
        }
    }

    private static func port(_ digits: Slice<UnsafeRawBufferPointer>) -> UInt16? {
        guard (1...5).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
        var number = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            number = number * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return UInt16(exactly: number)
    }

    private static func address(
        _ text: Slice<UnsafeRawBufferPointer>, isIPv6: Bool, port: UInt16
    ) -> ClientAddress? {
        // A 0 in the text would end it early for the reader below.
        guard (1...45).contains(text.count), !text.contains(0) else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 46) { terminated in
            for (index, byte) in text.enumerated() { terminated[index] = CChar(bitPattern: byte) }
            terminated[text.count] = 0
            var address = supd_address()
            guard supd_parse_address(terminated.baseAddress, isIPv6 ? 1 : 0, &address) == 0 else { return nil }
            address.port = port
            return ClientAddress(address)
        }
    }

    // MARK: Writing

    /// Writes a header to memory for `longestWritten` bytes. Returns its length.
    ///
    /// Without an address the receiver is told to take the connection's own: `UNKNOWN`, or LOCAL, which every receiver
    /// must accept. IPv4 goes as IPv4 when both ends have it.
    static func write(
        _ version: Version, source: ClientAddress, destination: ClientAddress, to memory: UnsafeMutableRawPointer
    ) -> Int {
        let hasAddresses = !source.isNone && !destination.isNone
        let isIPv6 = source.isIPv6 || destination.isIPv6
        var text = TextWriter(memory, capacity: longestWritten)
        switch version {
        case .v1:
            text.append("PROXY ")
            if hasAddresses {
                text.append(isIPv6 ? "TCP6 " : "TCP4 ")
                text.append(source, asIPv6: isIPv6)
                text.append(" ")
                text.append(destination, asIPv6: isIPv6)
                text.append(" ")
                text.append(UInt64(source.port))
                text.append(" ")
                text.append(UInt64(destination.port))
            } else {
                text.append("UNKNOWN")
            }
            text.append("\r\n")
        case .v2:
            text.append(signature)
            text.append(byte: hasAddresses ? 0x21 : 0x20)
            text.append(byte: hasAddresses ? isIPv6 ? 0x21 : 0x11 : 0)
            text.append(byte: 0)
            text.append(byte: hasAddresses ? isIPv6 ? 36 : 12 : 0)
            guard hasAddresses else { break }
            text.append(bytesOf: source, asIPv6: isIPv6)
            text.append(bytesOf: destination, asIPv6: isIPv6)
            text.append(bigEndian: UInt64(source.port), bytes: 2)
            text.append(bigEndian: UInt64(destination.port), bytes: 2)
        }
        return text.count
    }
}
