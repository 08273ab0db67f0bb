extension Format where Value == ListenAddress {
    /// What the balancer can accept connections on.
    static var listenAddress: Format {
        let expected = "a port like 8080 (loopback only), \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:/path\""
        let schema = JSONText.members([
            "anyOf": [
                .members(["type": "integer", "minimum": 1, "maximum": 65535]),
                .members([
                    "type": "string", "pattern": "^([0-9.]+:[0-9]{1,5}|\\[[0-9a-fA-F:.]+\\]:[0-9]{1,5}|unix:.+)$",
                ]),
            ]
        ])
        return Format(expected: expected, schema: schema) { value, reader in
            switch value.content {
            case .number(let number):
                if let integer = number.integer, let port = UInt16(exactly: integer), port > 0 {
                    return .loopback(port: port)
                }
            case .string(let text) where text.utf8.starts(with: "unix:".utf8):
                return unixAddress(String(Substring(text.utf8.dropFirst(5))), value, &reader)
            case .string(let text):
                if let address = parseSocketAddress(text) { return address }
                // A bare port in quotes, or a name: there are two meanings, so say how to write each.
                let port = text.split(separator: ":").last.flatMap { parsePort($0) }
                if let port,
                    text == "\(port)" || text == ":\(port)" || text == "*:\(port)" || text == "localhost:\(port)"
                {
                    reader.report(
                        value, expected: "\(port) for loopback only, or \"0.0.0.0:\(port)\" for every IPv4 address")
                    return nil
                }
            default: break
            }
            reader.report(value, expected: expected)
            return nil
        }
    }
}

/// Reads the path of a Unix socket.
private func unixAddress(_ path: String, _ value: JSON5Value, _ reader: inout FieldReader) -> ListenAddress? {
    guard checkText(path, value, maximum: 4095, &reader), checkTilde(path, value, &reader) else { return nil }
    guard !path.isEmpty, !path.contains("${") else {
        reader.report(value, expected: "\"unix:/path\"" + (path.isEmpty ? "" : "; variables have no meaning here"))
        return nil
    }
    let absolute = absolutePath(path, in: reader.directory)
    // sun_path of unix(7) holds 108 bytes with the NUL at its end.
    guard absolute.utf8.count <= 107 else {
        reader.report(
            value.offset,
            "found a path of \(absolute.utf8.count) bytes for a Unix socket, expected at most 107 (as an absolute path)"
        )
        return nil
    }
    return .unix(path: absolute)
}

extension Format where Value == [Located<Dependency>] {
    /// A list of names, or a map of names with conditions.
    static var dependencies: Format {
        let name = Format<String>.text(
            "the name of a service", pattern: "^[a-z][a-z0-9-]{0,62}$", maximum: 4096, where: isServiceName)
        let list = Format<[Located<String>]>.list(
            of: name.located, "services", count: 0...ManifestLoader.maximumServices)
        let map = Format<[(key: String, value: Located<Dependency.Condition>)]>.map(
            "services with \"ready\", \"started\" or \"completed\"", keyPattern: "^[a-z][a-z0-9-]{0,62}$",
            key: { isServiceName($0) ? nil : "the name of a service" }, value: Format<Dependency.Condition>.word.located
        )
        let expected = "a list of services, or a map like { db: \"ready\" }"
        return Format(expected: expected, schema: .members(["anyOf": [list.schema, map.schema]])) { value, reader in
            let all: [Located<Dependency>]?
            switch value.content {
            case .array:
                all = list.read(value, &reader)?.map {
                    Located(value: Dependency(service: $0.value), location: $0.location)
                }
            case .object:
                all = map.read(value, &reader)?.map { name, condition in
                    Located(value: Dependency(service: name, condition: condition.value), location: condition.location)
                }
            default:
                reader.report(value, expected: expected)
                return nil
            }
            var seen: Set<String> = []
            return all?.filter { dependency in
                if seen.insert(dependency.value.service).inserted { return true }
                reader.problems.add(
                    dependency.location, "found \(quoted(dependency.value.service)) again, expected every service once")
                return false
            }
        }
    }
}

/// Whether a text is a service's name: `[a-z][a-z0-9-]{0,62}`.
package func isServiceName(_ text: String) -> Bool {
    guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first), text.utf8.count <= 63
    else {
        return false
    }
    return text.utf8.allSatisfy {
        isDigit($0) || $0 == UInt8(ascii: "-") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
    }
}
