locals {
  bucket = "s3://landing"
}
