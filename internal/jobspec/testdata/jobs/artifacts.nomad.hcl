job "artifacts" {
  group "main" {
    task "work" {
      driver = "raw_exec"
      artifact {
        source      = "https://example.com/file.tar.gz"
        destination = "local/data"
        mode        = "any"
        insecure    = true
        chown       = true
        options {
          checksum = "md5:df6a4178aec9fbdc1d6d7e3634d1bc33"
          depth    = 1
        }
        headers {
          User-Agent = "nomad"
          X-Alloc    = "${NOMAD_ALLOC_ID}"
        }
      }
      artifact {
        source = "git::https://example.com/repo"
      }
    }
  }
}
