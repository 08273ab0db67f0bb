import ControlAPI

/// The page's own files, which are in the program.
enum PageFiles {
    /// One of them.
    struct File {
        /// As in Content-Type.
        var type: String
        /// Its bytes.
        var bytes: [UInt8]
        /// As in ETag: it changes with the bytes.
        var tag: String

        init(_ type: String, _ bytes: [UInt8]) {
            self.type = type
            self.bytes = bytes
            // FNV-1a: it only has to tell one version of the program from the next.
            var hash: UInt64 = 0xcbf2_9ce4_8422_2325
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            tag = "\"\(String(hash, radix: 16))\""
        }
    }

    private static let files: [String: File] = [
        "/": File("text/html; charset=utf-8", PackageResources.index_html),
        "/style.css": File("text/css; charset=utf-8", PackageResources.style_css),
        "/app.js": script(PackageResources.app_js),
        "/details.js": script(PackageResources.details_js),
        "/history.js": script(PackageResources.history_js),
        "/log.js": script(PackageResources.log_js),
        "/pictures.js": script(PackageResources.pictures_js),
        "/words.js": script(PackageResources.words_js),
        "/icon.svg": File("image/svg+xml", PackageResources.icon_svg),
    ]

    /// All paths, in order.
    static var paths: [String] { files.keys.sorted() }

    private static func script(_ bytes: [UInt8]) -> File { File("text/javascript; charset=utf-8", bytes) }

    /// The file of a path.
    static func file(_ path: some StringProtocol) -> File? { files[String(path)] }

    /// What stands in the head of every answer: nothing but our own files may be loaded, run, or embed this.
    static let securityFields = [
        HTTPField(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
                + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        HTTPField("X-Content-Type-Options", "nosniff"),
        HTTPField("Referrer-Policy", "no-referrer"),
        HTTPField("Cross-Origin-Opener-Policy", "same-origin"),
        HTTPField("Cross-Origin-Resource-Policy", "same-origin"),
    ]
}
