${greeting},
%{ for name, n in counts ~}
${n} ${name}
%{ endfor ~}
Queries: ${substr(sha256(file("awk/orders.awk")), 0, 8)}
