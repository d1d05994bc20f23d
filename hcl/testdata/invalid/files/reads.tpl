${file(name)}
