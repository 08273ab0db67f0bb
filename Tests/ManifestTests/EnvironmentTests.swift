import Manifest
import Testing

private func pairs(_ variables: [(name: String, value: String)]) -> [String] {
    variables.map { "\($0.name)=\($0.value)" }
}

@Suite struct EnvironmentTests {
    @Test func servicesAreToldWhereTheOthersAre() throws {
        let loaded = try manifest(
            """
            { services: {
                'loop-back': { command: 'x', listen: 8081 },
                any: { command: 'x', listen: ['unix:/x', '0.0.0.0:8082', 8083] },
                six: { command: 'x', listen: '[::]:8084' },
                global: { command: 'x', listen: '[2001:db8::1]:8085', port: 5000 },
                fixed: { command: 'x', port: 5432, replicas: 2 },
                both: { command: 'x', port: 6000, listen: 'unix:/both' },
                sock: { command: 'x', listen: 'unix:/run/s' },
                none: { command: 'x' },
            } }
            """)
        #expect(
            pairs(loaded.services.flatMap(addressVariables)) == [
                "LOOP_BACK_ADDRESS=127.0.0.1:8081", "LOOP_BACK_HOST=127.0.0.1", "LOOP_BACK_PORT=8081",
                "ANY_ADDRESS=127.0.0.1:8082",
                "ANY_HOST=127.0.0.1", "ANY_PORT=8082", "SIX_ADDRESS=[::1]:8084", "SIX_HOST=::1", "SIX_PORT=8084",
                "GLOBAL_ADDRESS=[2001:db8::1]:8085", "GLOBAL_HOST=2001:db8::1", "GLOBAL_PORT=8085",
                "FIXED_ADDRESS=127.0.0.1:5432",
                "FIXED_HOST=127.0.0.1", "FIXED_PORT=5432", "BOTH_ADDRESS=127.0.0.1:6000", "BOTH_HOST=127.0.0.1",
                "BOTH_PORT=6000",
                "SOCK_ADDRESS=unix:/run/s",
            ])
    }

    @Test func variablesOfTextsHaveTheValuesOfTheInstance() throws {
        let directory = try service("directory: '/d/${SERVICE}-${INSTANCE}/${HOST}:${PORT}'").directory
        #expect(
            directory.expanded(templateValues(service: "api", instance: 2, port: 20001)) == "/d/api-2/127.0.0.1:20001")
    }

    @Test(arguments: [
        ("A=1\nhunter2", 2, "found no \"=\", expected NAME=value (or # before a comment)"),
        ("=hunter2", 1, "found no usable name before \"=\", expected NAME=value without white space in the name"),
        ("A='hunter2", 1, "found a quote without an end, expected the same quote at the end of the line"),
        ("\nA='x' hunter2", 2, "found more after the closing quote, expected the end of the line"),
        ("A=\0", 1, "found a NUL character, expected NAME=value"),
        ("A B=1", 1, "found no usable name before \"=\", expected NAME=value without white space in the name"),
    ])
    func badEnvironmentFilesNameTheLineAndNoValue(text: String, line: Int, message: String) {
        let error = #expect(throws: EnvironmentFileError.self) { try parseEnvironmentFile(Array(text.utf8)) }
        #expect(error?.description == "line \(line): \(message)")
    }

    @Test func environmentFilesHaveLimits() {
        #expect(throws: EnvironmentFileError.self) {
            try parseEnvironmentFile([UInt8](repeating: 10, count: (1 << 20) + 1))
        }
        #expect(throws: EnvironmentFileError.self) {
            try parseEnvironmentFile(Array((0...1024).map { "A\($0)=1\n" }.joined().utf8))
        }
        #expect(throws: EnvironmentFileError.self) {
            try parseEnvironmentFile(Array("A=\(String(repeating: "x", count: 140_000))".utf8))
        }
        #expect(throws: EnvironmentFileError.self) { try parseEnvironmentFile([0x41, 0x3D, 0xFF]) }
    }
}

@Suite struct WordingTests {
    @Test(arguments: [
        (Duration.zero, "0s"), (.milliseconds(1500), "1500ms"), (.seconds(90), "90s"), (.seconds(120), "2m"),
        (.seconds(7200), "2h"), (.microseconds(10), "0s"),
    ])
    func durationsAsText(duration: Duration, text: String) {
        #expect(durationText(duration) == text)
    }

    @Test(arguments: ["500ms", "10s", "90s", "5m", "1h", "24h"])
    func durationsComeBack(text: String) throws {
        let duration = try #require(parseDuration(text))
        #expect(durationText(duration) == text)
    }

    @Test(
        arguments: [
            (0, "0"), (1000, "1000"), (4096, "4K"), (10 << 20, "10M"), (3 << 30, "3G"), (1 << 40, "1T"),
            (UInt64.max, "18446744073709551615"),
        ] as [(UInt64, String)])
    func sizesAsTextComeBack(size: UInt64, text: String) {
        #expect(sizeText(size) == text)
        #expect(parseSize(text) == size)
    }

    @Test(
        arguments: [
            ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"), ("0:0:0:0:0:ffff:1.2.3.4", "::ffff:102:304"),
            ("1:2:3:4:5:6:7", nil), ("1:2:3:4:5:6:7:8:9", nil), (":::", nil), ("1:::2", nil), ("12345::", nil),
            ("::1.2.3", nil), ("1.2.3.4", nil), ("", nil), (":1", nil), ("1:", nil), ("1:2:3:4:5:6:7::8", nil),
        ] as [(String, String?)])
    func ipv6AddressesAreReadAndWritten(text: String, expected: String?) {
        #expect(parseIPv6(text).map(ipv6Text) == expected)
    }
}

@Suite struct LimitTextTests {
    @Test(
        arguments: [
            (.nofile, "4096", 4096, 4096), (.cpu, "10", 10, 11), (.as, "1G:unlimited", 1 << 30, nil),
            (.core, "unlimited", nil, nil),
        ] as [(ResourceLimit.Resource, String, UInt64?, UInt64?)])
    func limitsAreReadFromTextAlone(resource: ResourceLimit.Resource, text: String, soft: UInt64?, hard: UInt64?) {
        #expect(ResourceLimit(resource, text: text) == ResourceLimit(resource: resource, soft: soft, hard: hard))
    }

    @Test(arguments: ["", "x", "2:1", "1=2", "1:2:3", "-1", "unlimited:1", "1K", "18446744073709551615"])
    func otherTextIsNoLimit(text: String) {
        #expect(ResourceLimit(.nofile, text: text) == nil)
    }
}
