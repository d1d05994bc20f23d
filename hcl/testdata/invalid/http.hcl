workflow "w" {
  param "host" {
    type = string
  }
  task "no_url" {
    http {} # ERROR: The http block of task no_url needs url, such as url = "https://example.com/load"
  }
  task "scheme" {
    http {
      url = "ftp://${param.host}/x" # ERROR: `http.url` of task scheme must begin with http:// or https://
    }
  }
  task "no_scheme" {
    http {
      url = "example.com/x" # ERROR: `http.url` of task no_scheme must begin with http:// or https://
    }
  }
  task "no_host" {
    http {
      url = "https:///x" # ERROR: `http.url` of task no_host must name a host, such as "https://example.com/load"
    }
  }
  task "user" {
    http {
      url = "https://me:hunter2@example.com" # ERROR: `http.url` of task user must not hold a user and password, which URLs show everywhere
    }
  }
  task "values" {
    http {
      method        = "PSOT" # ERROR: `http.method` of task values must be one of GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS. Did you mean
      url           = ["https://example.com"] # ERROR: `http.url` of task values must be text, not a list
      headers       = { "Content Type" = "text/plain" } # ERROR: `http.headers` of task values has the header "Content Type", and a name of a header is letters, digits and
      body          = { a = 1 } # ERROR: `http.body` of task values must be text, not an object
      expect_status = [200, 600] # ERROR: `http.expect_status` of task values must be a status code from 100 to 599, or a list of them
      timeout       = "2m" # ERROR: `http.timeout` of task values must be more than nothing and at most 1m0s: the server that acts waits for the
      idempotent    = "maybe" # ERROR: `http.idempotent` of task values must be true or false, not text
    }
  }
  task "headers" {
    http {
      url           = "https://example.com"
      headers       = { "Idempotency-Key" = "x" } # ERROR: `http.headers` of task headers has the header Idempotency-Key, which Cairn sends itself: the ID of the
      expect_status = "ok" # ERROR: `http.expect_status` of task headers must be a status code from 100 to 599, or a list of them, not text
      timeout       = "0s" # ERROR: `http.timeout` of task headers must be more than nothing and at most 1m0s: the server that acts waits for the
    }
  }
  task "line_break" {
    http {
      url           = "https://example.com"
      headers       = { X = "a\nb" } # ERROR: `http.headers` of task line_break has a line break or another control character in the header X
      expect_status = [] # ERROR: `http.expect_status` of task line_break must be a status code from 100 to 599, or a list of them; leave it
    }
  }
  task "large" {
    http {
      url  = "https://example.com"
      body = join("", [for i in range(1000) : "0123456789012345678901234567890123456789012345678901234567890123456789"]) # ERROR: `http.body` of task large has 70000 bytes, at most 65536 are allowed
    }
  }
  task "words" {
    http {
      ulr = "https://example.com" # ERROR: ulr is nothing that can be written in http
      retry {} # ERROR: retry cannot be written in http
      header = {} # ERROR: header is nothing that can be written in http
    }
  }
}
